"""Where workers of a study meet: a journal in the store, or a PostgreSQL database."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import EnvironmentFailed
from tasks.locks import LOCK_TIMEOUT_S, held_if_free
from tasks.packages import missing_packages_named

if TYPE_CHECKING:
    import optuna

CONNECT_S = 10
"""For which a database may be silent."""
_LONGEST_LINE = 1_000_000
"""Bytes of the longest line of a journal: an operation on one trial as JSON."""


def check_storage(storage: str) -> None:
    """Raises EnvironmentFailed where a database is named that does not answer, or whose driver is missing."""
    if storage == "auto":
        return
    with missing_packages_named():
        import psycopg2
    try:
        psycopg2.connect(storage.replace("postgresql+psycopg2://", "postgresql://"), connect_timeout=CONNECT_S).close()
    except psycopg2.Error as error:
        raise _unreachable(storage, error) from None


@contextlib.contextmanager
def storage_answers(storage: str) -> Iterator[None]:
    """What a database does not do in the block is EnvironmentFailed: the search resumes once it answers."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise _unreachable(storage, error.__cause__ or error) from None


def _unreachable(storage: str, error: BaseException) -> EnvironmentFailed:
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    return EnvironmentFailed(
        f"tune.storage {storage}: the database cannot be used ({reason}); check its address, user and password, and run again"
    )


def open_storage(storage: str, folder: Path) -> optuna.storages.BaseStorage:
    """Optuna's storage: a journal in the folder, or the database. EnvironmentFailed where that does not answer."""
    import optuna

    if storage == "auto":
        from optuna.storages.journal import JournalFileBackend

        journal = folder / "journal.log"
        lock: Any = JournalLock(journal)  # optuna asks for a class of its own, and calls these two methods
        return optuna.storages.JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            address = storage.replace("postgresql://", "postgresql+psycopg2://", 1)  # else SQLAlchemy 2.1 takes psycopg
            return optuna.storages.RDBStorage(address, engine_kwargs={"pool_pre_ping": True})
    except (SQLAlchemyError, RuntimeError) as error:
        raise _unreachable(storage, error) from None


class JournalLock:
    """The lock that a writer of a journal holds: the kernel's, which ends with its holder, where Optuna's own would keep all
    others waiting for half a minute after a kill."""

    def __init__(self, journal: Path) -> None:
        self._journal, self._held = journal, contextlib.ExitStack()

    def acquire(self) -> bool:
        """The lock is this process's, and the journal ends with a whole line: a killed writer may have left half of one, to
        which the next would have been added, and no line could be read any more."""
        self._held.enter_context(held_if_free(self._journal.with_suffix(".lock"), LOCK_TIMEOUT_S))
        with self._journal.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Others may write."""
        self._held.close()
