"""The rows of a raw table while ingest checks them: kept as columns, read and written row by row.

A million dicts of thirty keys take gigabytes; a million of these rows take eight megabytes beside their table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.contract import read_table

_WRITTEN = ("reason", "detail", "bad_modality", "split", "time")
"""Columns of the raw table that ingest changes."""
_ADDED = ("cluster", "duplicate_of")
"""Columns that ingest adds, beside `NAME_digest` and `NAME_warning` of each input."""


class Columns:
    """Columns by name: Arrow's arrays, and lists where cells are written."""

    def __init__(self, table: pa.Table) -> None:
        self._arrays: dict[str, pa.Array] = {}
        self._lists: dict[str, list[Any]] = {name: [None] * table.num_rows for name in _ADDED}
        self._add(table)

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> Columns:
        """Those of a Parquet file, one after another: a million rows in pieces and whole at once are twice as much memory."""
        found = cls(read_table(path, names[:1]))
        for name in names[1:]:
            found._add(read_table(path, [name]))
        return found

    def _add(self, table: pa.Table) -> None:
        for name in table.column_names:
            if name in _WRITTEN:
                self._lists[name] = table[name].to_pylist()
            else:
                self.put(name, table[name])

    def __len__(self) -> int:
        """How many rows."""
        return len(self._lists[_ADDED[0]])

    def put(self, name: str, values: pa.ChunkedArray) -> None:
        """A column that is only read from now on."""
        self._arrays[name] = values.combine_chunks()

    def drop(self, name: str) -> None:
        """A column that is not read any more."""
        del self._arrays[name]

    def array(self, name: str) -> pa.Array:
        """(N,) a column that is only read."""
        return self._arrays[name]

    def cells(self, name: str) -> list[Any]:
        """(N,) a column whose cells are written."""
        return self._lists[name]

    def is_written(self, name: str) -> bool:
        """Whether the cells of a column may be written."""
        return name in self._lists

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self._lists or name in self._arrays

    def cell(self, name: str, place: int) -> Any:
        """One cell."""
        cells = self._lists.get(name)
        return self._arrays[name][place].as_py() if cells is None else cells[place]


class SampleRow:
    """One row: `row["id"]`, `row["reason"] = ...`, `row |= {...}`."""

    __slots__ = ("_columns", "place")

    def __init__(self, columns: Columns, place: int) -> None:
        self._columns = columns
        self.place = place
        """Position in the raw table."""

    def __getitem__(self, name: str) -> Any:
        return self._columns.cell(name, self.place)

    def __setitem__(self, name: str, value: Any) -> None:
        self._columns.cells(name)[self.place] = value

    def __ior__(self, cells: Mapping[str, Any]) -> SampleRow:
        for name, value in cells.items():
            self[name] = value
        return self

    def get(self, name: str) -> Any:
        """The cell; None where there is no such column."""
        return self._columns.cell(name, self.place) if self._columns.has(name) else None


class Rows:
    """Rows of one table in some order; each is made when it is asked for, so that only their positions are held."""

    def __init__(self, columns: Columns, places: NDArray[np.int64] | None = None) -> None:
        """Those at these positions (N,); without them every row, in order."""
        self.columns = columns
        self.places = np.arange(len(columns)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[SampleRow]:
        return (SampleRow(self.columns, place) for place in self.places.tolist())

    def __getitem__(self, position: int) -> SampleRow:
        return SampleRow(self.columns, int(self.places[position]))

    def cells(self, name: str) -> list[Any]:
        """(N,) a column."""
        if self.columns.is_written(name):
            return list(map(self.columns.cells(name).__getitem__, self.places.tolist()))
        found: list[Any] = self.array(name).to_pylist()
        return found

    def array(self, name: str) -> pa.Array:
        """(N,) a column that is only read, as Arrow has it."""
        return self.columns.array(name).take(pa.array(self.places))

    def put(self, name: str, values: Sequence[Any]) -> None:
        """(N,) cells of a column are written."""
        cells = self.columns.cells(name)
        for place, value in zip(self.places.tolist(), values, strict=True):
            cells[place] = value

    def take(self, chosen: NDArray[np.integer[Any]]) -> Rows:
        """The rows at these positions among these rows, in this order."""
        return Rows(self.columns, self.places[chosen])

    def usable(self) -> Rows:
        """Those without a reason why they cannot be used."""
        return self.take(np.flatnonzero([reason is None for reason in self.cells("reason")]))

    def refused(self) -> Rows:
        """Those with one."""
        return self.take(np.flatnonzero([reason is not None for reason in self.cells("reason")]))


def codes_of(array: pa.Array, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) a number for each cell at these places, equal where the cells are; -1 for an empty one."""
    codes = array.dictionary_encode().indices.take(
        pa.array(places)
    )  # not of the cells that are taken: they would be copied
    return np.asarray(codes.cast(pa.int64()).fill_null(-1))


def contents_of(columns: Columns, places: NDArray[np.int64], inputs: Sequence[str]) -> NDArray[np.int64]:
    """(N,) a number for the canonical media of each row at these places, equal where all of them are."""
    codes = [codes_of(columns.array(f"{name}_digest"), places) for name in inputs]
    return (
        codes[0] if len(codes) == 1 else np.unique(np.stack(codes, axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    )


def recurring(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether a number stands there more than once."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse.reshape(-1)] > 1)
