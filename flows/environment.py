"""What the entry points read from the environment and the clock, in one place; stages get it passed in."""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

from flows.request import DEFAULT_PROFILE, DEFAULT_STORE

PREFECT_DEFAULTS = {
    # The ephemeral server takes 10-20 s to start on a busy machine; Prefect gives up after 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def store_from_environment(given: str | None) -> str:
    """The store: the flag, else CROSSMODAL_STORE, else .crossmodal in the current folder."""
    return given or os.environ.get("CROSSMODAL_STORE") or DEFAULT_STORE


def tracking_uri_from_environment() -> str | None:
    """MLFLOW_TRACKING_URI, when it is set."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def pages_url_from_environment() -> str | None:
    """CROSSMODAL_PAGES_URL, when it is set: the address below which the store's `runs` folder is served."""
    return os.environ.get("CROSSMODAL_PAGES_URL") or None


def run_tags(profile: str | None, data: str | None, flow_run_id: str | None = None) -> dict[str, str]:
    """What a run is tagged with in MLflow besides its results: profile, version, git commit, Prefect's flow run."""
    commit = git_commit()
    known = {
        "profile": profile or (DEFAULT_PROFILE if data is None else None),
        "crossmodal_version": importlib.metadata.version("crossmodal"),
        "git_commit": commit,
        "mlflow.source.git.commit": commit,
        "mlflow.source.name": "crossmodal retrain",
        "mlflow.source.type": "LOCAL" if flow_run_id is None else "JOB",
        "mlflow.user": user_name(),
        "prefect_flow_run_id": flow_run_id,
    }
    return {name: value for name, value in known.items() if value}


def git_commit() -> str | None:
    """The commit of the repository that this code lies in; None outside of one, or without git."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def user_name() -> str:
    """The account that this process runs under."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id need not have a name
        return str(os.getuid())


def now_ms() -> int:
    """Milliseconds since 1970."""
    return round(1000 * datetime.now(UTC).timestamp())


def new_run_id() -> str:
    """A run id that sorts by time: 20261121-013000-1a2b3c4d."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
