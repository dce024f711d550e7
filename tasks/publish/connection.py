"""A quiet connection to MLflow. It is imported here, and only when there is a registry to talk to."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasks.drafts import full_disk
from tasks.errors import EnvironmentFailed
from tasks.publish.addresses import SCHEME, artifact_location, is_database, sqlite_file, sqlite_uri
from tasks.publish.relocation import make_relative
from tasks.store import Store, replacing

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE_MAGIC = b"SQLite format 3\0"
_ANSWER_S = 10.0
"""Time in which a registry's host takes a connection."""
# Settings that MLflow takes from the environment only. A value set by the user wins.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it would report use to its makers
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # it would write between our own lines
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # 7 by default: minutes of silence when the server is down
}


def is_absent(tracking_uri: str) -> bool:
    """True when the registry is a sqlite file that nobody has made yet. Imports nothing, creates nothing."""
    path = sqlite_file(tracking_uri)
    return path is not None and not path.exists()


@contextlib.contextmanager
def connected(store: Store, tracking_uri: str) -> Iterator[MlflowClient]:
    """A client of the registry; what MLflow raises inside the block becomes EnvironmentFailed, as one line."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    _require_database(tracking_uri)
    _require_driver(tracking_uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    _silence()
    register_artifacts()
    try:
        _make_database(store, tracking_uri)
        _make_relative(store, tracking_uri)
        yield MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
    except (MlflowException, SQLAlchemyError) as error:
        message = " ".join(str(error).split())[:300]
        database = sqlite_file(tracking_uri)
        if database is not None and "database or disk is full" in message:
            raise full_disk(OSError(errno.ENOSPC, ""), f"model registry {database}", database.parent) from error
        raise EnvironmentFailed(
            f"model registry {without_password(tracking_uri)}: {message}; check MLFLOW_TRACKING_URI", transient=True
        ) from error


def probe_registry(tracking_uri: str) -> None:
    """Raises EnvironmentFailed where the registry is broken or does not answer. Imports no MLflow, creates nothing."""
    _require_database(tracking_uri)
    _require_driver(tracking_uri)
    path = sqlite_file(tracking_uri)
    if path is not None:
        place = next(parent for parent in (path, *path.parents) if parent.exists())
        if not os.access(place, os.W_OK):
            raise EnvironmentFailed(f"model registry {path}: cannot be written to; check MLFLOW_TRACKING_URI")
        return
    address = urlsplit(tracking_uri)
    if address.hostname is None:
        return  # a folder, or a store of a plug-in's: MLflow knows
    ports = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
    port = address.port or ports.get(address.scheme.partition("+")[0], 443)
    try:
        socket.create_connection((address.hostname, port), timeout=_ANSWER_S).close()
    except OSError as error:
        raise EnvironmentFailed(
            f"model registry {without_password(tracking_uri)}: does not answer ({error}); check MLFLOW_TRACKING_URI, "
            "or start the server",
            transient=True,
        ) from None


def without_password(uri: str) -> str:
    """The address without the user and the password in it."""
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _silence() -> None:
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)


def _require_database(tracking_uri: str) -> None:
    """MLflow would try a broken file ten times over a minute before it says so."""
    path = sqlite_file(tracking_uri)
    if path is None or not path.exists():
        return
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise EnvironmentFailed(f"model registry {path}: cannot be read ({error.strerror})") from None
    if head and head != _SQLITE_MAGIC:
        raise EnvironmentFailed(
            f"model registry {path}: is not a sqlite database; restore it from a backup or move it away"
        )


def _make_relative(store: Store, tracking_uri: str) -> None:
    path = sqlite_file(tracking_uri)
    if path is None or path.parent.resolve() != store.root.resolve() or not os.access(path, os.W_OK):
        return
    try:
        make_relative(path)
    except sqlite3.OperationalError as error:
        raise EnvironmentFailed(
            f"model registry {path}: cannot be opened ({error}); if it is busy, try again"
        ) from None
    except sqlite3.DatabaseError as error:
        raise EnvironmentFailed(
            f"model registry {path}: is damaged ({error}); restore it from a backup or move it away"
        ) from None


def register_artifacts() -> None:
    """MLflow reads the store's own addresses, also where the plug-in is not installed."""
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
    from mlflow.tracking._tracking_service import utils

    from tasks.publish.artifact_repository import StoreArtifactRepository

    _artifact_repository_registry.register(SCHEME, StoreArtifactRepository)  # type: ignore[no-untyped-call]
    # kept by the run's id: in a process that has seen the original, a copy of a store would write into it
    utils._artifact_repos_cache.clear()


def _require_driver(tracking_uri: str) -> None:
    """EnvironmentFailed where SQLAlchemy lacks what it needs to talk to a database of this address."""
    if not is_database(tracking_uri) or sqlite_file(tracking_uri) is not None:
        return
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(tracking_uri).get_dialect().import_dbapi()
    except ModuleNotFoundError as error:
        postgres = "write postgresql+psycopg2://, whose driver pip install 'crossmodal[postgres]' brings"
        way = postgres if tracking_uri.startswith("postgresql") else "install the package that brings it"
        raise EnvironmentFailed(
            f"model registry {without_password(tracking_uri)}: its driver {error.name!r} is not installed; {way}"
        ) from None
    except ArgumentError as error:
        raise EnvironmentFailed(
            f"model registry {without_password(tracking_uri)}: is no address of a database ({' '.join(str(error).split())}); "
            "check MLFLOW_TRACKING_URI"
        ) from None


def _make_database(store: Store, tracking_uri: str) -> None:
    """Makes the sqlite database aside and moves it into place, so that a kill during MLflow's migrations leaves nothing."""
    path = sqlite_file(tracking_uri)
    if path is None or path.exists():
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with store.work_dir("registry", "creation"):
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            # of its experiment "Default" and others that name no place; else MLflow takes the current folder
            place = artifact_location("", store.root, tracking_uri)
            SqlAlchemyStore(sqlite_uri(scratch), place).engine.dispose()  # type: ignore[no-untyped-call]
