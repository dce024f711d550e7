"""What the entry points read from the environment and the clock, in one place; stages get it passed in."""

from __future__ import annotations

import functools
import os
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path

from flows.request import DEFAULT_STORE

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


def refresh_from_environment() -> tuple[str, ...]:
    """The stages that CROSSMODAL_REFRESH names, with commas between them: `--refresh` for a flow that another process runs."""
    return tuple(filter(None, (name.strip() for name in os.environ.get("CROSSMODAL_REFRESH", "").split(","))))


def new_run_id() -> str:
    """A run id that sorts by time: 20261121-013000-1a2b3c4d."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"


@functools.cache
def git_commit() -> str | None:
    """The commit of the code that runs, with `-dirty` where files differ from it; None outside a clone, or without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
