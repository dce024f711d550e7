"""What the entry points read from the environment and the clock, in one place; stages get it passed in."""

from __future__ import annotations

import os
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


def use_prefect(root: Path) -> None:
    """Prefect's settings for a command on this store, set before Prefect is imported; what the user has set stays."""
    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    home = root / "prefect"
    os.environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(home / "storage"))
    if "PREFECT_API_URL" not in os.environ:
        os.environ.setdefault("PREFECT_HOME", str(home))  # the temporary server's database stays in the store


def new_run_id() -> str:
    """A run id that sorts by time: 20261121-013000-1a2b3c4d."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:8]}"
