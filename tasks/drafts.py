"""Files and folders that are being written: each is held by a lock of its process, so that what no process holds is left over.

A draft has a name that no other ever has, and beside it its lock, `NAME.lock`, which is there before the draft and goes after
it. Whoever finds a draft whose lock nobody holds knows that its process was killed, on whatever machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from tasks import locks
from tasks.errors import EnvironmentFailed

_NAME = re.compile(r"(?:\.(?P<stem>.+)\.)?[0-9a-f]{32}", re.DOTALL)
_BESIDE = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a database."""
_CLEARED_S = 600.0
_FORGOTTEN_S = 24 * 3600.0
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_STEM_CHARS = 200


@contextlib.contextmanager
def draft(folder: Path, stem: str = "", what: str = "") -> Iterator[Path]:
    """Where to write, in `folder`, hidden where there is a stem; what then still lies there is gone after the block.

    What a killed process left of drafts with that stem is cleared. A disk that is full in the block is EnvironmentFailed, which
    says `what` was to be written; another OSError is raised as it is.
    """
    stem, name = stem[:_STEM_CHARS], uuid.uuid4().hex
    path = folder / (f".{stem}.{name}" if stem else name)
    lock = path.with_name(f"{path.name}.lock")
    what = what or str(folder / stem)
    with naming_full_disk(what, folder):
        if stem:
            clear_leftovers(folder, stem)
        with locks.held_if_free(lock, _CLEARED_S) as ours:  # nobody else knows the name, but who clears may look at it
            if not ours:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(lock))
            try:
                with naming_full_disk(what, folder, path):
                    yield path
            finally:
                _remove(path)
                lock.unlink(missing_ok=True)


def clear_leftovers(folder: Path, stem: str | None = None, drafts_only: bool = False) -> None:
    """The drafts in a folder that no process holds are gone: those of one stem, or all. OSError where there is no folder.

    `drafts_only`: nothing but drafts lies there, so that one without a lock is left over, too, when it is a day old.
    """
    names = set(os.listdir(folder))  # noqa: PTH208 (names, not paths)
    found = {lock.removesuffix(".lock") for name in names if (lock := locks.lock_of(name)) is not None}
    for name in sorted(found):
        matched = _NAME.fullmatch(name)
        if matched is not None and stem in (None, matched["stem"]):
            _remove_unless_held(folder / name)
    for name in names - found if drafts_only else ():
        if locks.lock_of(name) is None and _age_s(folder / name) > _FORGOTTEN_S:
            _remove(folder / name)


def _remove_unless_held(path: Path) -> None:
    lock = path.with_name(f"{path.name}.lock")
    with contextlib.suppress(OSError), locks.held_if_free(lock) as free:  # else: another clears it, or we may not
        if free:
            _remove(path)
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def naming_full_disk(what: str, folder: Path, written: Path | None = None) -> Iterator[None]:
    """A disk that is full in the block is EnvironmentFailed: what was written, where, what is free there and what is needed.

    `written`: the file or folder of which as much as there was room for is there at the end.
    """
    try:
        yield
    except OSError as error:
        if not is_full_disk(error):
            raise
        raise full_disk(error, what, folder, None if written is None else _size(written)) from error


def full_disk(
    error: OSError, what: str = "", folder: Path | None = None, written: int | None = None
) -> EnvironmentFailed:
    """The error of a disk, or a quota, that took no more of `what`: by default of the file that the system's error names.

    `written`: the bytes that there was room for; they are taken back.
    """
    named = error.filename2 or error.filename  # of a copy the second is what is written
    named = named if isinstance(named, str) else None
    folder = folder or (None if named is None else Path(named).absolute().parent)
    details, needed = [], written
    if folder is not None:
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(place).free
        details.append(f"{_megabytes(free)} free in {place}")
        if (
            written == 0 and error.errno == errno.ENOSPC
        ):  # whoever wrote took it away, and all that is free was too little
            needed = free
    if needed:
        details.append(f"more than {_megabytes(needed)} is needed")
    detail = f" ({', '.join(details)})" if details else ""
    left = "; nothing was left there" if written is not None else ""
    return EnvironmentFailed(
        f"{what or named or 'a file'}: {os.strerror(error.errno or errno.ENOSPC)}{left}{detail}; free space, or choose another "
        "place with --store, and start it again: it resumes"
    )


def is_full_disk(error: BaseException) -> TypeGuard[OSError]:
    """Whether an error says that a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
    return 0


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    for each in (path, *(path.with_name(f"{path.name}{end}") for end in _BESIDE)):
        with contextlib.suppress(OSError):
            each.unlink(missing_ok=True)
