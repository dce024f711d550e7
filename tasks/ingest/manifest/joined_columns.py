"""Inputs that are made of several columns of a row: their cells as one text, their types, and columns that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data_contracts.modalities import modality_of
from data_contracts.refs import ColumnType, InputName
from tasks.config import DataConfig
from tasks.ingest.manifest.media_files import Located, locate_text
from tasks.ingest.manifest.raw_rows import RawRows
from tasks.ingest.rejected_row import Refused
from tasks.modalities import JoinedColumns, spec_of

Joined = Mapping[InputName, tuple[str, ...]]
"""Input to its columns in the manifest."""


def join_cells(joined: Joined, values: Mapping[str, Any]) -> Iterator[tuple[InputName, Located | Refused]]:
    """Every input of which one cell at least is filled, with its text, or why it has none."""
    for name, columns in joined.items():
        try:
            text = _columns_of(name).join({column: values.get(column) for column in columns})
        except ValueError as error:
            yield name, Refused("wrong-type", str(error))
            continue
        if text is not None:
            yield name, locate_text(text)


def decide_types(joined: Joined, table: RawRows, data: DataConfig) -> tuple[dict[str, ColumnType], list[str]]:
    """The type of every column, from all rows of the raw table, and what is to be known about it."""
    types: dict[str, ColumnType] = {}
    notes: list[str] = []
    for name in joined:
        media = table[f"{name}_value"].drop_null().to_pylist()
        found, doubts = _columns_of(name).decide_types(media, data.columns.of(modality_of(name)))
        types |= found
        notes += doubts
    return types, notes


def describe_lacking(joined: Joined, data: DataConfig) -> list[str]:
    """A line on every column that the config names and a manifest to be predicted lacks."""
    found = []
    for name, columns in joined.items():
        named = [_columns_of(name).split_entry(entry)[0] for entry in data.columns.of(modality_of(name))]
        found += [f"no column {column!r}: it is missing in every row" for column in named if column not in columns]
    return found


def _columns_of(name: InputName) -> JoinedColumns:
    found = spec_of(name).joined_columns()
    assert found is not None
    return found
