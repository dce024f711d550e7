"""A registry whose database names its artifacts by the store's path, as one that MLflow itself made does, comes to name them
below the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

from tasks.publish.addresses import ARTIFACTS, SCHEME

_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
_FOLDER = f"/{ARTIFACTS}/"
_TIMEOUT_S = 120.0


def make_relative(database: Path) -> None:
    """No location of artifacts that lie beside the database holds the path of the store, in one transaction.

    Which those are, the experiments say: what is called `.../mlartifacts/NAME` there and is beside the database. So it is known
    in a store that was moved or copied, too. Nothing is written where nothing is to be changed; but what a killed process left
    half written is taken back, as by whoever opens the database next: read only, it could not be opened.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=_TIMEOUT_S)) as connection:
        places = set(_absolute_places(connection, database.parent))
    if not places:
        return
    with closing(sqlite3.connect(database, timeout=_TIMEOUT_S)) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        for place in sorted(places):
            for table, column in _COLUMNS:
                connection.execute(
                    f'UPDATE "{table}" SET "{column}" = ? || substr("{column}", ?) WHERE substr("{column}", 1, ?) = ?',
                    (f"{SCHEME}:", len(place) + 1, len(place) + len(_FOLDER), f"{place}{_FOLDER}"),
                )


def _absolute_places(connection: sqlite3.Connection, root: Path) -> Iterator[str]:
    """Yields the addresses of stores in which the experiments say that artifacts of this one lie."""
    for (location,) in connection.execute("SELECT artifact_location FROM experiments"):
        place, found, below = (location or "").rpartition(_FOLDER)
        if found and place.startswith(("file:", "/")) and below and (root / ARTIFACTS / unquote(below)).is_dir():
            yield place
