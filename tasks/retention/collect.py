"""Mark and sweep: what nothing needs and nobody has used for a while is moved to trash/, then deleted.

A move is one rename, so a kill leaves an artifact whole in its place, or gone. What is marked is kept; so is what was used
since the horizon, which is never later than when the oldest live run began.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.locks import held_if_free, is_held
from tasks.retention.inventory import DiskUsage, Item
from tasks.store_use import MARKED_ANEW_S, collecting, used_since

GRACE_S = 6 * MARKED_ANEW_S
"""What was used within it is kept, whatever else is asked for."""
DAY_S = 86_400.0
RECORDS = frozenset({"run.json", "config.json", "refs.json", "summary.json", "unlogged.json"})
"""What stays of an old run, some kB: lists, histories and comparisons of runs read it."""


@dataclass(frozen=True)
class Removed:
    """Something that was, or would be, removed."""

    uri: str
    bytes: int
    used: float


def horizon(root: Path, now: float, keep_days: float) -> float:
    """What was used at this time or later is kept, in s since 1970."""
    latest = now - max(GRACE_S, keep_days * DAY_S)
    began = used_since(root)
    return latest if began is None else min(latest, began - MARKED_ANEW_S)


def unneeded(items: Iterable[Item], marked: Collection[str], before: float) -> list[Item]:
    """Items that are not marked, and were used last before the time."""
    return [item for item in items if item.uri not in marked and item.used < before]


def sweep(root: Path, items: Iterable[Item], before: float) -> list[Removed]:
    """The items are gone, but those that somebody has used since they were listed."""
    removed = []
    for item in items:
        folder = root / item.uri
        with collecting(root), contextlib.suppress(FileNotFoundError):
            if folder.stat().st_mtime < before:
                _to_trash(root, folder)
                removed.append(Removed(item.uri, item.bytes, item.used))
    empty_trash(root, before)
    return removed


def empty_trash(root: Path, before: float) -> None:
    """What gc moved to trash/ is deleted, and what was set aside there before the time because it was damaged."""
    for path in (root / "trash").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.name.startswith(_COLLECTED) or path.lstat().st_ctime < before:
                _delete(path)


_COLLECTED = "gc-"


def _to_trash(root: Path, path: Path) -> None:
    trash = root / "trash"
    trash.mkdir(exist_ok=True)
    path.rename(trash / f"{_COLLECTED}{uuid.uuid4().hex}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # another gc may be at it
    else:
        path.unlink(missing_ok=True)


def stale_work(root: Path, before: float) -> Iterator[Path]:
    """Folders of unfinished work that no process holds, and none has written to since the time."""
    for path in sorted((root / "work").glob("*-*")):
        named = path.name.startswith(
            "publish-"
        )  # by what lies there a store is known to those that it shares a registry with
        if path.is_dir() and not named and _newest(path) < before and not is_held(path.with_name(f"{path.name}.lock")):
            yield path


def remove_work(root: Path, paths: Iterable[Path], before: float) -> list[Removed]:
    """These folders are gone, but those that a process has taken up again."""
    removed = []
    for path in paths:
        lock = path.with_name(f"{path.name}.lock")
        with contextlib.suppress(FileNotFoundError), held_if_free(lock) as free:
            if free and (newest := _newest(path)) < before:
                size = DiskUsage().of(path)
                _to_trash(root, path)
                removed.append(Removed(path.relative_to(root).as_posix(), size, newest))
    empty_trash(root, before)
    return removed


def _newest(path: Path) -> float:
    """When a folder was written to last; infinite where nothing is in it, or a name has just gone: someone is at work."""
    try:
        times = [path.stat().st_mtime]
        for folder, _, files in os.walk(path):
            times += [os.lstat(Path(folder) / name).st_mtime for name in files]
        return max(times) if any(path.iterdir()) else math.inf
    except FileNotFoundError:
        return math.inf


def extras_of_run(folder: Path) -> list[Path]:
    """What an old run's folder holds besides its records: report, Data Docs, tables, pictures."""
    return sorted(path for path in folder.iterdir() if path.name not in RECORDS)


def thin_run(root: Path, folder: Path) -> Removed:
    """Of the run only its records are left."""
    size, used = 0, folder.stat().st_mtime
    usage = DiskUsage()
    for path in extras_of_run(folder):
        size += usage.of(path)
        with contextlib.suppress(FileNotFoundError):  # another gc was quicker
            _to_trash(root, path)
    empty_trash(root, 0.0)
    return Removed(folder.relative_to(root).as_posix(), size, used)
