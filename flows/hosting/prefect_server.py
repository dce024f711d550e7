"""Prefect's server and UI behind the guard: what `prefect server start` runs, with the login page on its origin."""

from __future__ import annotations

import os

from flows.hosting.access import LOGIN_PATH
from flows.hosting.login import WithLogin
from flows.hosting.serve import PAGES_URL, PREFECT_URL, policy_of, run_guarded
from tasks.redaction import redact_output

# Prefect's UI draws the graph of a run by PixiJS, which makes functions with eval, and starts workers from blobs.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' {websockets}; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


def main() -> None:
    """Serves until it is stopped."""
    redact_output()
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    from flows.hosting.immediate_sqlite import let_writers_wait

    let_writers_wait()
    url = os.environ[PREFECT_URL]
    policy = policy_of(
        url,
        open_paths=frozenset({"/api/health", "/api/ready", LOGIN_PATH}),
        header_only=("/api",),
        websockets=True,
        content_security_policy=CONTENT_SECURITY_POLICY.format(websockets=url.replace("http://", "ws://")),
    )
    app = WithLogin(create_app(final=True), policy, os.environ[PAGES_URL] + "/")
    run_guarded(app, url, policy, get_current_settings().server.api.keepalive_timeout)


if __name__ == "__main__":
    main()
