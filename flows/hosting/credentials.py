"""Who runs on a store: the lock of `crossmodal up`, and the file by which other terminals find its servers.

`<store>/up.json` holds addresses and the auth string, mode 0600; it exists while `up` runs. Whether `up` lives is known by the
lock, which the kernel frees however the process ends, and not by a process id, which may be another's by then.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from tasks import locks
from tasks.errors import UsageError
from tasks.shared_store import store_option
from tasks.store import replacing

RUNNING = "up.json"
LOCK = "up.lock"
_MARK = "# Written by crossmodal up; removed when it ends.\n"
_CLAIM_S = 1.0
"""A reader of `up.json` holds the lock for a moment."""


class Running(BaseModel):
    """A `crossmodal up` as others find it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    started: str
    """ISO 8601, UTC."""
    prefect_url: str
    mlflow_url: str
    pages_url: str
    auth_string: str = Field(repr=False)

    @property
    def api_url(self) -> str:
        """What PREFECT_API_URL is set to."""
        return f"{self.prefect_url}/api"


@contextlib.contextmanager
def claimed(root: Path) -> Iterator[None]:
    """The store is this process's alone to serve; UsageError when another `up` serves it. Its private folder is 0700."""
    home = root / "prefect"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)  # it holds the database, the logs and the profile
    with locks.held_if_free(root / LOCK, _CLAIM_S) as ours:
        if not ours:
            raise UsageError(_already(root))
        remove_running(root)
        yield


@contextlib.contextmanager
def published(root: Path, running: Running) -> Iterator[None]:
    """Other terminals find this `up`, and `PREFECT_HOME=<store>/prefect prefect …` talks to its server, until the end."""
    write_private(root / RUNNING, running.model_dump_json(indent=1) + "\n")
    profiles = root / "prefect" / "profiles.toml"
    if _is_ours(profiles) or not profiles.exists():
        write_private(profiles, _profile(running))
    try:
        yield
    finally:
        remove_running(root)


def read_running(root: Path) -> Running | None:
    """The `up` that serves this store now; None when there is none. What a killed one left behind is removed."""
    if locks.is_held(root / LOCK):
        try:
            return Running.model_validate_json((root / RUNNING).read_text())
        except (FileNotFoundError, ValueError):
            return None  # it has just begun, or is just ending
    with contextlib.suppress(OSError):  # where the store can be written to
        remove_running(root)
    return None


def remove_running(root: Path) -> None:
    """Nothing leads to a server that is gone."""
    (root / RUNNING).unlink(missing_ok=True)
    profiles = root / "prefect" / "profiles.toml"
    if _is_ours(profiles):
        profiles.unlink()


def write_private(path: Path, text: str) -> None:
    """The file holds the text and nobody but its owner could read it at any moment (0600)."""
    with replacing(path) as aside:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)


def _profile(running: Running) -> str:
    settings = f'PREFECT_API_URL = "{running.api_url}"\nPREFECT_API_AUTH_STRING = "{running.auth_string}"\n'
    return f'{_MARK}active = "crossmodal"\n\n[profiles.crossmodal]\n{settings}'


def _is_ours(profiles: Path) -> bool:
    return profiles.is_file() and profiles.read_text().startswith(_MARK)


def _already(root: Path) -> str:
    try:
        running = Running.model_validate_json((root / RUNNING).read_text())
    except (FileNotFoundError, ValueError):
        return f"store {root}: another crossmodal up is just starting or ending on it; wait a moment"
    return (
        f"store {root}: crossmodal up serves it since {running.started} (process {running.pid}, {running.pages_url}); "
        f"crossmodal login {store_option(root)} prints a link to it"
    )
