"""A JSON file that is one object, whose rows are the objects of an array in it: {"version": 1, "data": [...]}."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

from tasks.config_sections import ColumnsConfig
from tasks.ingest.manifest.rows import Cells, Manifest, Row
from tasks.ingest.sources.streams import TableFile
from tasks.modalities import MODALITIES

_INPUTS = frozenset(name for spec in MODALITIES.values() for name in spec.columns)


def arrays_of_objects(values: Cells, columns: ColumnsConfig) -> dict[str, list[Cells]]:
    """Key to its array, of those that hold objects; none where another key is the column of an input, by its name or by what
    the config names: then it is a row."""
    named = {name for modality in MODALITIES for name in columns.of(modality)}
    if any(key in named or key.strip().lower() in _INPUTS for key in values):
        return {}
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    }


def open_array(file: TableFile, key: str, objects: list[Cells]) -> Manifest:
    """The rows of a file that holds one object, one of whose keys has them."""
    columns = dict.fromkeys(column for values in objects for column in values)
    rows = (Row(number, values) for number, values in enumerate(objects, start=1))
    note = f"{file.path.name}: rows are the {len(objects)} objects of its key {key!r}"
    return Manifest(file.path, file.path.parent, tuple(columns), rows, (note,), len(objects))


def note_arrays(file: TableFile, values: Cells, keys: Iterable[str]) -> tuple[str, ...]:
    """A note on the arrays of a file that is one object: where several of its keys have objects, or all have texts."""
    names = list(keys)
    if not names and all(isinstance(value, list) and value and isinstance(value[0], str) for value in values.values()):
        return (
            f"{', '.join(list(values)[:3])} are lists of texts: where these are classes and their files, write a table of them "
            "(file_name,label)",
        )
    if not names:
        return ()
    command = shlex.join(["jq", f".{json.dumps(names[0])}", str(file.path)])
    return (
        f"the arrays {', '.join(names)} of this one object hold objects, and rows are those of one array: write it into a file "
        f"of its own, {command} > rows.json",
    )
