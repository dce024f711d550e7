"""A store that cannot be written to, to be read all the same: a folder of links to its files, which takes what is computed.

Another user's store, a disk that is mounted read-only: models lie there to be used. What is read is verified as ever; what
this process computes goes with it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from tasks import progress
from tasks.drafts import draft
from tasks.errors import EnvironmentFailed
from tasks.shared_store import open_store
from tasks.store import Store

_STEM = "crossmodal-view"
_NOT_READ = frozenset({"tmp", "trash", "runs", "prefect", "up.json", "up.lock"})
_LINKED = frozenset({"mlartifacts", "profiles"})
"""Folders in which nothing is written that reads."""
_DATABASE = "mlflow.db"


def readable(store: Store) -> Store:
    """The store; where there is one that cannot be written to, a view of it for as long as this process lives.

    EnvironmentFailed where it cannot be read either.
    """
    if not store.root.is_dir() or os.access(store.root, os.W_OK):
        return store
    return open_store(_view(store.root), store.run, store.lock_timeout_s, view_of=store.root)


@functools.cache
def _view(root: Path) -> Path:
    kept = contextlib.ExitStack()
    try:
        folder = kept.enter_context(draft(Path(tempfile.gettempdir()), _STEM))
        folder.mkdir(mode=0o700)
        _link(root, folder)
    except (OSError, sqlite3.Error) as error:
        kept.close()
        raise EnvironmentFailed(
            f"store {root}: can neither be written to nor read ({error}); run as a user who may read all of it"
        ) from None
    atexit.register(kept.close)
    progress.log(f"store {root}: cannot be written to; it is read, and what is computed now is not kept", "notice")
    return folder


def _link(root: Path, folder: Path) -> None:
    for entry in root.iterdir():
        if entry.name in _NOT_READ or entry.name.startswith((".", _DATABASE)):
            continue
        if entry.is_dir() and entry.name not in _LINKED:
            _link_files(entry, folder / entry.name)
        else:
            (folder / entry.name).symlink_to(entry)
    if (root / _DATABASE).is_file():
        _copy_database(root / _DATABASE, folder / _DATABASE)


def _link_files(source: Path, target: Path) -> None:
    """The same folders, of this process's own, with a link for each file."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            _link_files(entry, target / entry.name)
        else:
            (target / entry.name).symlink_to(entry)


def _copy_database(source: Path, target: Path) -> None:
    """MLflow opens a database only to write.

    One that has a write-ahead log can be read only where its index can be made, and one that a killed process left half written
    only where that can be taken back: where neither can, the copy is opened with a copy of the log or the journal.
    """
    try:
        address = f"file:{quote(str(source))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
    except sqlite3.OperationalError:
        for end in ("", "-wal", "-journal"):
            if source.with_name(f"{source.name}{end}").exists():
                shutil.copyfile(source.with_name(f"{source.name}{end}"), target.with_name(f"{target.name}{end}"))
