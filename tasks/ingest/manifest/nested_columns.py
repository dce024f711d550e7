"""Columns within columns: `annotation.label` of rows whose cell `annotation` is an object, as JSON and Parquet have them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tasks.ingest.manifest.rows import Manifest, Row

_PROPOSED = 3
_DEPTH = 3
"""Columns deeper than this are not proposed."""


def add_nested(manifest: Manifest, asked: Iterable[str]) -> Manifest:
    """The manifest, not yet read, which has those of the columns asked for that lie within another one as columns, too."""
    nested = [
        name
        for name in asked
        if name not in manifest.columns and name.partition(".")[0] in manifest.columns and "." in name
    ]
    if not nested:
        return manifest
    columns = (*manifest.columns, *dict.fromkeys(nested))
    return replace(manifest, columns=columns, rows=_with(manifest.rows, nested))


def nested_cells(cells: Mapping[str, list[Any]], depth: int = _DEPTH) -> dict[str, list[Any]]:
    """The cells of each column within a column, by its dotted name, of a sample of rows."""
    found: dict[str, list[Any]] = {}
    for name, column in cells.items() if depth else ():
        keys = dict.fromkeys(key for cell in column if isinstance(cell, dict) for key in cell)
        for key in keys:
            values = [_at({name: cell}, f"{name}.{key}") for cell in column]
            found |= {f"{name}.{key}": values} | nested_cells({f"{name}.{key}": values}, depth - 1)
    return found


def describe_inner(cell: Any, column: str, role: str) -> str:
    """What a refusal adds where an object stands in place of a text: the columns within it that hold one."""
    kinds = str | int if role == "label" else str
    texts = [key for key, value in cell.items() if isinstance(value, kinds)] if isinstance(cell, dict) else []
    ways = [f"--set {shlex.quote(f'data.columns.{role}={column}.{key}')}" for key in texts[:_PROPOSED]]
    return f"; here it could be {' or '.join(ways)}" if ways else ""


def _with(rows: Iterator[Row], nested: list[str]) -> Iterator[Row]:
    for row in rows:
        yield replace(row, values=row.values | {name: _at(row.values, name) for name in nested})


def _at(values: Mapping[str, Any], name: str) -> Any:
    """What lies at a dotted name; None where there is nothing. A key may hold dots itself."""
    for place in (place for place, mark in enumerate(name) if mark == "."):
        inner = values.get(name[:place])
        if isinstance(inner, Mapping):
            rest = name[place + 1 :]
            return inner[rest] if rest in inner else _at(inner, rest)
    return None
