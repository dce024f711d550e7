"""A consistent copy of a store while runs write to it, and a store again from such a copy.

The databases are copied first, the files after them. Whoever writes does it the other way round: a file is complete in
its place before a row of a database names it, and is not written again. So whatever the copied databases name lies in
the copy; a file that came in between is one that no row names yet, and the next run finds or replaces it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.drafts import draft
from tasks.errors import EnvironmentFailed, UsageError
from tasks.shared_store import SharedStore
from tasks.store import Store, digest_file, write_text

RECORD = "backup.json"
FILES = "store"
LEFT_OUT = frozenset({"tmp", "trash", "work", "prefect/storage", "prefect/profiles.toml", "up.json"})
"""Drafts, damaged files, checkpoints of runs under way, Prefect's cache of results, the credentials of a running `up`."""
_DATABASE_FOLDERS = (".", "prefect")
_DATABASE_FILES = (".db", ".db-wal", ".db-shm", ".db-journal")
_LOCK_TIMEOUT_S = 120.0


class BackupRecord(BaseModel):
    """What a backup holds. It is written last: a folder that has it is complete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    created_at: datetime
    store: str
    """The absolute path of the store that was copied."""
    bytes: int
    databases: tuple[str, ...]
    files: dict[str, str]
    """Path below the store to sha256, databases included."""


def back_up(store: Store, out: Path, now: datetime) -> BackupRecord:
    """`out` is a complete copy of the store, databases checked; on an error nothing is left.

    Raises UsageError when there is no store, `out` exists or lies in the store; EnvironmentFailed when the disk or a
    database fails.
    """
    out = out.absolute()
    if not store.root.is_dir():
        raise UsageError(f"store {store.root}: is not a folder; name the store with --store")
    if out.exists() or out.is_relative_to(store.root):
        raise UsageError(f"backup {out}: must be a new folder outside the store; choose another with --out")
    with _failing_cleanly(out, out.parent, out.name) as scratch:
        target = scratch / FILES
        found = list(_files(store.root))
        databases = tuple(name for name in found if _is_database(name) and name.endswith(".db"))
        digests = {name: _copy_database(store.root / name, target / name) for name in databases}
        # Listed again: files that the databases name may have come since the first look.
        for name in _files(store.root):
            if not _is_database(name):
                with contextlib.suppress(FileNotFoundError):  # moved to trash/ or replaced since it was listed
                    digests[name] = _copy(store.root / name, target / name)
        size = sum((target / name).stat().st_size for name in digests)
        record = BackupRecord(
            created_at=now, store=str(store.root), bytes=size, databases=databases, files=dict(sorted(digests.items()))
        )
        os.sync()
        write_text(scratch / RECORD, record.model_dump_json(indent=1))
        scratch.rename(out)
    return record


def restore(backup: Path, store: Store) -> BackupRecord:
    """The store holds what the backup holds, every file verified, the registry's paths set to their new place.

    Raises UsageError when `backup` is none or the store is not empty; EnvironmentFailed when a file of it is damaged.
    """
    if isinstance(store, SharedStore):
        raise UsageError(
            f"store {store.shared.storage.address}: a backup is restored into a folder; name a new one with --store, which is "
            "then a cache of the bucket that the backup's was"
        )
    record = _read_record(backup)
    root = store.root
    if root.exists() and (not root.is_dir() or {path.name for path in root.iterdir()} - {"lost+found"}):
        raise UsageError(f"store {root}: is not empty; restore into a new folder with --store")
    with _failing_cleanly(root, root, "restore") as scratch:
        for name, sha256 in record.files.items():
            try:
                digest = _copy(backup / FILES / name, scratch / name)
            except FileNotFoundError:
                digest = "absent"
            if digest != sha256:
                raise EnvironmentFailed(f"backup {backup}: {name} is damaged ({digest[:12]}); take an earlier backup")
        if (scratch / "mlflow.db").exists():
            _move_registry(scratch / "mlflow.db", Path(record.store), root)
        os.sync()
        for path in scratch.iterdir():  # the root may be a volume's mount point, which nothing can be renamed to
            path.rename(root / path.name)
    return record


@contextlib.contextmanager
def _failing_cleanly(place: Path, parent: Path, stem: str) -> Iterator[Path]:
    """Yields a new private folder in `parent` and removes what is left of it; a failing disk is EnvironmentFailed."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with draft(parent, stem, str(place)) as scratch:
            scratch.mkdir(mode=0o700)
            yield scratch
    except (OSError, sqlite3.Error) as error:
        raise EnvironmentFailed(f"{place}: {error}; nothing was left there, and it can be started again") from error


def _files(root: Path) -> Iterator[str]:
    """Paths below the root, in name order, without what is left out."""
    for folder, subfolders, names in os.walk(root, onerror=_raise_unless_gone, followlinks=True):
        below = PurePosixPath(Path(folder).relative_to(root).as_posix())
        subfolders[:] = sorted(name for name in subfolders if (below / name).as_posix() not in LEFT_OUT)
        yield from (path for name in sorted(names) if (path := (below / name).as_posix()) not in LEFT_OUT)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_database(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parent.as_posix() in _DATABASE_FOLDERS and path.name.endswith(_DATABASE_FILES)


def _copy(source: Path, target: Path) -> str:
    """The sha256 of the bytes that were copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    return digest_file(target)


def _copy_database(source: Path, target: Path) -> str:
    """SQLite's own online copy: one committed state, whoever writes meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    live = sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=_LOCK_TIMEOUT_S)
    try:
        with closing(live), closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a write-ahead log beside it
            (answer,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        raise EnvironmentFailed(f"database {source}: cannot be copied ({answer}); if it is damaged, restore a backup")
    return digest_file(target)


def _move_registry(database: Path, before: Path, after: Path) -> None:
    """Every text that begins with a place below `before`, as an address or as a path, begins with that below `after`."""
    moves = ((before.as_uri(), after.as_uri()), (str(before), str(after)))
    with closing(sqlite3.connect(database)) as connection, connection:
        columns = connection.execute(
            "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c "
            "WHERE m.type = 'table' AND (c.type LIKE '%CHAR%' OR c.type LIKE '%TEXT%')"
        ).fetchall()
        for (table, column), (old, new) in itertools.product(columns, moves):
            connection.execute(
                f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) WHERE substr("{column}", 1, ?) = ?',
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )


def _read_record(backup: Path) -> BackupRecord:
    try:
        record = BackupRecord.model_validate_json((backup / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        why = "has none" if isinstance(error, OSError) else "has one that cannot be read"
        raise UsageError(f"backup {backup}: a complete backup has {RECORD}, this {why}") from None
    if any(PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts for name in record.files):
        raise UsageError(f"backup {backup}: {RECORD} names a file outside the store")
    return record
