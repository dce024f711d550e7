"""Addresses of the registry: of a sqlite database, whatever is in its path, and of artifacts, without the store's path in them.

In a database that lies in the store, where artifacts lie is written as `crossmodal-store:/mlartifacts/...`: below the folder
that the database is in. So the store can be moved, copied and mounted elsewhere, and a copy never leads into the original.
`artifact_repository.py` tells MLflow how to read that. Imports no MLflow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line

SCHEME = "crossmodal-store"
ARTIFACTS = "mlartifacts"
"""The store's folder of what MLflow keeps."""
ALLOWED_ROOTS = "CROSSMODAL_ARTIFACT_ROOTS"
"""Environment variable: further places that models may be read from and written to, folders or addresses, with commas."""
_SQLITE = ("sqlite", "sqlite+pysqlite")
_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
_SHOWN_CHARACTERS = 200


def sqlite_uri(path: Path) -> str:
    """The address that opens exactly this file, in SQLAlchemy and in MLflow. UsageError for a path that is no UTF-8."""
    text = str(path)
    try:
        quoted = "".join(quote(char) if char in "%?#" or not char.isprintable() else char for char in text)
    except UnicodeEncodeError:
        raise UsageError(f"store {os.fsencode(path)!r}: its path is not UTF-8; move it to one that is") from None
    # MLflow makes the folder that follows `sqlite:///`, escapes and all, beside the real one; it does not with the driver named
    return f"sqlite:///{text}" if quoted == text else f"sqlite+pysqlite:///{quoted}"


def sqlite_file(tracking_uri: str) -> Path | None:
    """The database file of a sqlite address, None for a server."""
    scheme, separator, rest = tracking_uri.partition(":///")
    if not separator or scheme not in _SQLITE:
        return None
    return Path(unquote(rest.partition("?")[0])).absolute()


def is_database(tracking_uri: str) -> bool:
    """True for the address of a database (sqlite, PostgreSQL …), False for a tracking server, which keeps files itself."""
    return tracking_uri.partition("://")[0].partition("+")[0] in _DATABASES


def artifact_location(name: str, root: Path, tracking_uri: str) -> str | None:
    """Where the runs of a model keep their artifacts, below the store at `root`; None where a tracking server says so."""
    if not is_database(tracking_uri):
        return None
    database = sqlite_file(tracking_uri)
    if database is not None and database.parent.resolve() == root.resolve():
        return f"{SCHEME}:/{ARTIFACTS}/{name}"
    return (root / ARTIFACTS / name).as_uri()


def local_path(address: str, tracking_uri: str) -> Path | None:
    """The file or folder of this machine that an address of artifacts is, None for one elsewhere.

    EnvironmentFailed for an address of the store that leads out of its artifacts, or whose database is unknown here.
    """
    parts = urlsplit(address)
    if parts.scheme == SCHEME:
        return _in_store(address, tracking_uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(
            unquote(address.partition("#")[0].partition("?")[0].removeprefix("file:").removeprefix("//localhost"))
        )
    return Path(address) if not parts.scheme else None


def _in_store(address: str, tracking_uri: str) -> Path:
    database = sqlite_file(tracking_uri)
    below = PurePosixPath(unquote(address.removeprefix(f"{SCHEME}:")).lstrip("/"))
    if below.parts[:1] != (ARTIFACTS,) or ".." in below.parts:
        raise EnvironmentFailed(
            f"artifacts {_shown(address)}: do not lie below the store's {ARTIFACTS}/; see docs/release.md"
        )
    if database is None:
        raise EnvironmentFailed(
            f"artifacts {_shown(address)}: lie beside their database; name it with MLFLOW_TRACKING_URI=sqlite:///STORE/mlflow.db"
        )
    return database.parent / below


def require_known_place(address: str, root: Path, tracking_uri: str, which: str) -> None:
    """EnvironmentFailed unless an address of artifacts is one that models are read from and written to.

    Those are the artifacts of the store at `root` and those beside the database, symbolic links followed; those that the
    tracking server keeps; and what CROSSMODAL_ARTIFACT_ROOTS names.
    """
    others = [text.strip().rstrip("/") for text in os.environ.get(ALLOWED_ROOTS, "").split(",") if text.strip()]
    path = local_path(address, tracking_uri)
    if path is not None:
        database = sqlite_file(tracking_uri)
        stores = [root, *([] if database is None else [database.parent])]
        roots = [*(store / ARTIFACTS for store in stores), *(Path(text) for text in others if text.startswith("/"))]
        known = any(path.resolve().is_relative_to(allowed.resolve()) for allowed in roots)
    else:
        known = _is_served(address, tracking_uri) or _is_below(address, others)
    if not known:
        raise EnvironmentFailed(
            f"{which}: its files are at {_shown(address)}, which is neither below {root / ARTIFACTS} nor kept by the tracking "
            f"server; if that place is yours, name it in {ALLOWED_ROOTS}"
        )


def require_no_links(path: Path | None, which: str) -> None:
    """EnvironmentFailed where a file or folder of this machine is or holds a symbolic link: nothing that is published does."""
    found = () if path is None else (path, *path.rglob("*"))
    link = next((name for name in found if name.is_symlink()), None)
    if link is not None:
        raise EnvironmentFailed(
            f"{which}: {link} is a symbolic link, which no published file is; restore it, or roll back"
        )


def _is_served(address: str, tracking_uri: str) -> bool:
    """Whether the tracking server itself keeps what lies at an address."""
    parts, server = urlsplit(address), urlsplit(tracking_uri)
    plain = ".." not in unquote(parts.path).split("/") and not parts.query and not parts.fragment
    return (
        parts.scheme == "mlflow-artifacts"
        and plain
        and not is_database(tracking_uri)
        and (parts.netloc in ("", server.netloc.rpartition("@")[2]))
    )


def _is_below(address: str, roots: Sequence[str]) -> bool:
    plain = re.search(r"[?#\\\s]", address) is None and ".." not in unquote(address).split("/")
    return plain and any(address.startswith(f"{root}/") for root in roots if "://" in root)


def _shown(address: str) -> str:
    return one_line(address, _SHOWN_CHARACTERS)
