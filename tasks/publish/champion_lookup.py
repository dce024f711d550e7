"""Who is behind an alias, read from a sqlite registry without MLflow, whose import takes longer than torch's.

Only what was published and is in the store already is found here; everything else, and every doubt (a server, a file that
is locked, tables of another layout), is None: then MLflow is asked.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import quote

from tasks.publish.addresses import sqlite_file

_VERSION = """
    SELECT v.version FROM registered_model_aliases a
    JOIN model_versions v ON v.name = a.name AND v.version = a.version AND v.workspace = a.workspace
    WHERE a.name = ? AND a.alias = ? AND a.workspace = 'default' AND v.current_stage != 'Deleted_Internal'
"""
_TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ? AND workspace = 'default'"


@dataclass(frozen=True)
class SeenVersion:
    """A model version as far as its tags tell."""

    name: str
    version: str
    tags: dict[str, str]


def look_up(tracking_uri: str, name: str, alias: str) -> SeenVersion | None:
    """The version behind the alias; None where this cannot be known without MLflow."""
    path = sqlite_file(tracking_uri)
    if path is None or not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)) as database:
            found = database.execute(_VERSION, (name, alias)).fetchone()
            if found is None:
                return None
            tags = dict(database.execute(_TAGS, (name, found[0])).fetchall())
    except sqlite3.Error:
        return None
    return SeenVersion(name, str(found[0]), tags)
