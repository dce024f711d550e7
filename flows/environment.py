"""What the entry points read from the environment and the clock, in one place; stages get it passed in."""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path

from flows.hosting.access import new_auth_string
from flows.request import DEFAULT_STORE, Request
from tasks.errors import EnvironmentFailed
from tasks.object_storage import check_address, is_address
from tasks.publish.addresses import sqlite_uri
from tasks.shared_store import share
from tasks.store import digest_json

_START_S = 180.0

PREFECT_DEFAULTS = {
    # The ephemeral server takes 10-20 s to start on a busy machine; Prefect gives up after 20.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}


def store_from_environment(option: str | None) -> str:
    """The store's folder: of the flag, else CROSSMODAL_STORE, else .crossmodal in the current folder.

    Of a bucket's address it is the folder on this machine that caches it, made by now. Raises UsageError.
    """
    place = option or os.environ.get("CROSSMODAL_STORE") or DEFAULT_STORE
    if not is_address(place):
        return place
    address = check_address(place)
    folder = cache_folder() / "stores" / f"{address.rpartition('/')[2]}-{digest_json(address)[:12]}"
    share(folder, address)
    return str(folder)


def cache_folder() -> Path:
    """What this user's machine need not fetch again, of all projects: CROSSMODAL_CACHE, else crossmodal in XDG_CACHE_HOME."""
    given = os.environ.get("CROSSMODAL_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(given) if given else Path(home) / "crossmodal").expanduser().absolute()


def tracking_uri_from_environment() -> str | None:
    """MLFLOW_TRACKING_URI, when it is set."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def refresh_from_environment() -> tuple[str, ...]:
    """The stages that CROSSMODAL_REFRESH names, with commas between them: `--refresh` for a flow that another process runs."""
    return tuple(filter(None, (name.strip() for name in os.environ.get("CROSSMODAL_REFRESH", "").split(","))))


def pages_url_from_environment() -> str | None:
    """The address under which `crossmodal up` serves the files of runs; None when no `up` started this process."""
    return os.environ.get("CROSSMODAL_PAGES_URL") or None


def run_tags(request: Request) -> dict[str, str]:
    """What a run is tagged with in MLflow besides its results: profile, version, git commit, Prefect's flow run."""
    commit = git_commit() or ""
    known = {
        "profile": request.profile,
        "crossmodal_version": importlib.metadata.version("crossmodal"),
        "git_commit": commit,
        "mlflow.source.git.commit": commit.removesuffix("-dirty"),
        "mlflow.source.name": "crossmodal retrain",
        "mlflow.source.type": "LOCAL" if request.prefect_run_id is None else "JOB",
        "mlflow.user": user_name(),
        "prefect_flow_run_id": request.prefect_run_id,
    }
    return {name: value for name, value in known.items() if value}


def user_name() -> str:
    """The account that this process runs under."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id need not have a name
        return str(os.getuid())


def now_ms() -> int:
    """Milliseconds since 1970."""
    return round(1000 * datetime.now(UTC).timestamp())


def use_prefect(root: Path) -> None:
    """Prefect's settings for a command on this store, also where Prefect was imported before; what the user has set stays.

    While `crossmodal up` serves the store, its server is used, with its credential. Otherwise Prefect starts a temporary
    server whose database is the store's, never both at once; only this process and its children get into it.
    EnvironmentFailed when `up` lives and its server does not answer within three minutes, as at its start.
    """
    from flows.hosting.credentials import read_running

    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    home = root / "prefect"
    os.environ.setdefault("PREFECT_LOCAL_STORAGE_PATH", str(home / "storage"))
    for name, value in prefect_database(home).items():
        os.environ.setdefault(name, value)
    running = read_running(root)
    if running is not None and os.environ.get("PREFECT_API_URL", running.api_url).rstrip("/") == running.api_url:
        os.environ["PREFECT_API_URL"] = running.api_url
        os.environ["PREFECT_API_AUTH_STRING"] = running.auth_string
        os.environ.setdefault("CROSSMODAL_PAGES_URL", running.pages_url)
        os.environ.setdefault("PREFECT_HOME", str(home))
        _wait_until_it_answers(running.api_url)
    elif "PREFECT_API_URL" not in os.environ and "PREFECT_HOME" not in os.environ:
        home.mkdir(parents=True, exist_ok=True)  # Prefect makes no folder whose parent is missing
        os.environ["PREFECT_HOME"] = str(home)  # the temporary server's database stays in the store
        # Its port is open to every local user and web page. In a home of the user's own a profile may name a server.
        auth_string = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or new_auth_string()
        os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"] = auth_string
    _reread_prefects_settings()


def prefect_database(home: Path) -> dict[str, str]:
    """The setting under which Prefect's database is `home/prefect.db` where Prefect would open another."""
    address = sqlite_uri(home / "prefect.db")
    if address.startswith("sqlite:"):
        return {}
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:{address.partition(':')[2]}"}


def _reread_prefects_settings() -> None:
    """Prefect reads the environment when it is imported, and would start a second server on the database of `up`."""
    context = sys.modules.get("prefect.context")
    if context is not None:
        context.refresh_global_settings_context()


def _wait_until_it_answers(api_url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(f"{api_url}/health", timeout=10):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                text = f"{api_url}: crossmodal up runs, its Prefect server does not answer ({error}); see its terminal"
                raise EnvironmentFailed(text) from None
            time.sleep(0.5)


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
