"""MLflow's UI and API behind the guard, in one process: without its job workers, its gateway and its assistant.

MLflow lets who may write point an artifact location at any folder and read it back, the store's own secrets included. So what
a browser's cookie opens is reading; programs that send the Authorization header may write.
"""

from __future__ import annotations

import contextlib
import os
import re

from flows.hosting.first_visit import WithFirstVisit
from flows.hosting.serve import MLFLOW_URL, policy_of, run_guarded, store_root
from tasks.errors import EnvironmentFailed
from tasks.publish.addresses import artifact_location
from tasks.publish.connection import connected
from tasks.publish.tracking import log_unlogged
from tasks.redaction import redact_output
from tasks.shared_store import open_store

# What the UI asks for by POST although it only reads.
_SEARCHES = re.compile(
    r"^/graphql$|^/ajax-api/[23]\.0/mlflow/(?:(?:experiments|runs|logged-models|traces|datasets|issues)/search"
    r"|experiments/search-datasets|registered-models/get-latest-versions"
    r"|traces/(?:batchGetInfos|metrics|calculate-filter-correlation))$"
)
# They call out or run programs on request, and crossmodal uses none of them.
_CLOSED = ("/gateway", "/ajax-api/2.0/mlflow/gateway-proxy", "/ajax-api/3.0/mlflow/assistant", "/ajax-api/3.0/jobs")
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; frame-src 'self' blob:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight idle processes, 1.7 GB
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ALLOWED_HOSTS": "*",  # the guard has checked the host, and knows the port
}


def main() -> None:
    """Serves until it is stopped."""
    redact_output()
    uri = os.environ["MLFLOW_TRACKING_URI"]
    store = open_store(store_root())
    os.environ.update(_SETTINGS)
    with connected(store, uri):  # a store that was moved says so to MLflow, too
        root = str(artifact_location("", store.root, uri))
    with contextlib.suppress(EnvironmentFailed), connected(store, uri) as client:  # the pages are served all the same
        log_unlogged(client, store, uri)

    from mlflow.server import constants
    from mlflow.server.handlers import initialize_backend_stores

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = uri
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = root
    initialize_backend_stores(uri, uri, root)

    from mlflow.server.fastapi_app import app

    url = os.environ[MLFLOW_URL]
    policy = policy_of(
        url,
        open_paths=frozenset({"/health"}),
        cookie_posts=_SEARCHES,
        closed=_CLOSED,
        content_security_policy=CONTENT_SECURITY_POLICY,
    )
    run_guarded(WithFirstVisit(app, f"{policy.cookie}-visited"), url, policy)


if __name__ == "__main__":
    main()
