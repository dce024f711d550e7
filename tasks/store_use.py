"""Who uses a store, and what was used last, so that collecting what is old removes nothing under a live run.

A reader of an artifact marks its folder with the time, and a collector looks at that time before it moves the folder away:
both under one lock, the readers sharing it. So an artifact that was found stays, and one that was moved away is not found.
Every process that runs holds a lock of its own for as long as it lives: what was marked since the oldest of them began stays.
flock is what both rest on; on NFS it needs version 4, or 3 with a lock daemon. Where the mount keeps locks to one machine, a
process counts as live for as long as a run may take, whatever its lock says.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tasks import locks

MARKED_ANEW_S = 600.0
"""A mark that is younger is left as it is. Collectors keep whatever was marked within six times this time."""
_LOCK = "use.lock"
_USERS = "users"
_held: dict[tuple[int, Path], IO[bytes]] = {}
"""This process's own locks, by its id (a fork holds none) and the store's root; released when the process ends."""


def mark_used(root: Path, folder: Path) -> bool:
    """The folder's time says that it is used now. False where it is gone; a read-only store is left as it is."""
    try:
        if time.time() - folder.stat().st_mtime >= MARKED_ANEW_S:
            with _locked(root, fcntl.LOCK_SH):
                os.utime(folder)
    except FileNotFoundError:
        return folder.exists()
    except OSError:  # read-only: nothing is collected there either
        return True
    return True


@contextlib.contextmanager
def collecting(root: Path) -> Iterator[None]:
    """No reader marks anything in the block, so that a time that was read in it still holds when a folder is moved."""
    with _locked(root, fcntl.LOCK_EX):
        yield


def hold(root: Path) -> None:
    """Until it ends, this process is known to use the store."""
    if (os.getpid(), root) in _held:
        return
    path = root / "work" / _USERS / uuid.uuid4().hex
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = path.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # else: looked at before it was locked, and taken for a dead process's
            break
        file.close()
    _held[os.getpid(), root] = file
    atexit.register(path.unlink, missing_ok=True)


def used_since(root: Path) -> float | None:
    """When the oldest of the live processes that use the store began, in s since 1970; None where there is none.

    What processes left that no longer live is removed.
    """
    began: list[float] = []
    for path in (root / "work" / _USERS).glob("*"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                began.append(path.stat().st_mtime)
            else:
                began_at = path.stat().st_mtime
                if locks.uses_lease(root) and time.time() - began_at < locks.LOCK_TIMEOUT_S:
                    began.append(began_at)  # another machine's locks are not seen here: it may live
                else:
                    path.unlink(missing_ok=True)
    return min(began, default=None)


@contextlib.contextmanager
def _locked(root: Path, how: int) -> Iterator[None]:
    folder = root / "work"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
