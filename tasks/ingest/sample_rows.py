"""The rows of a raw table while ingest checks them: kept as columns, read and written row by row.

A million dicts of thirty keys take gigabytes; a million of these rows take eight megabytes beside their table, whose written
columns hold the few cells that are filled.
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
_STREAMED_ROWS = 10_000
_ADDED = ("cluster", "duplicate_of")
"""Columns that ingest adds, beside `NAME_digest` and `NAME_warning` of each input."""


class _Written:
    """The cells of a column that is written: a list where most are filled, else those that are, by place."""

    def __init__(self, cells: pa.ChunkedArray | None = None) -> None:
        self._dense: list[Any] | None = None
        self._filled: dict[int, Any] = {}
        if cells is not None and cells.null_count * 2 < len(cells):
            self._dense = cells.to_pylist()
        elif cells is not None and cells.null_count < len(cells):
            places = np.flatnonzero(np.asarray(cells.is_valid()))
            self._filled = dict(zip(places.tolist(), cells.take(pa.array(places)).to_pylist(), strict=True))

    def __getitem__(self, place: int) -> Any:
        return self._filled.get(place) if self._dense is None else self._dense[place]

    def __setitem__(self, place: int, value: Any) -> None:
        if self._dense is not None:
            self._dense[place] = value
        elif value is None:
            self._filled.pop(place, None)
        else:
            self._filled[place] = value

    def fill(self, places: NDArray[np.int64], values: Sequence[Any], rows: int) -> None:
        """The cells at these places, of so many rows."""
        if self._dense is None and len(values) - values.count(None) > rows // 2:
            self._dense = list(map(self._filled.get, range(rows)))
        for place, value in zip(places.tolist(), values, strict=True):
            self[place] = value

    def filled(self, rows: int) -> NDArray[np.bool_]:
        """(rows,) which cells are not None."""
        if self._dense is not None:
            return np.fromiter((cell is not None for cell in self._dense), bool, rows)
        found = np.zeros(rows, bool)
        found[list(self._filled)] = True
        return found


class Columns:
    """Columns by name: Arrow's arrays, and what can be written."""

    def __init__(self, table: pa.Table) -> None:
        self._arrays: dict[str, pa.Array] = {}
        self._written = {name: _Written() for name in _ADDED}
        self._rows: int = table.num_rows
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
                self._written[name] = _Written(table[name])
            else:
                self.put(name, table[name])

    def __len__(self) -> int:
        """How many rows."""
        return self._rows

    def put(self, name: str, values: pa.ChunkedArray) -> None:
        """A column that is only read from now on."""
        self._arrays[name] = values.combine_chunks()

    def drop(self, name: str) -> None:
        """A column that is not read any more."""
        del self._arrays[name]

    def array(self, name: str) -> pa.Array:
        """(N,) a column that is only read."""
        return self._arrays[name]

    def written(self, name: str) -> _Written:
        """A column whose cells are written."""
        return self._written[name]

    def filled(self, name: str) -> NDArray[np.bool_]:
        """(N,) which cells of a column that is written are not None."""
        return self._written[name].filled(self._rows)

    def is_written(self, name: str) -> bool:
        """Whether the cells of a column may be written."""
        return name in self._written

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return name in self._written or name in self._arrays

    def cell(self, name: str, place: int) -> Any:
        """One cell."""
        cells = self._written.get(name)
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
        self._columns.written(name)[self.place] = value

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
            return list(map(self.columns.written(name).__getitem__, self.places.tolist()))
        found: list[Any] = self.array(name).to_pylist()
        return found

    def streamed(self, name: str) -> Sequence[Any]:
        """(N,) a column that is only read, of whose cells a few are Python's at a time."""
        return _Streamed(self.array(name))

    def filled(self, name: str) -> Rows:
        """The rows that have a cell in a column that is written."""
        return self.take(np.flatnonzero(self.columns.filled(name)[self.places]))

    def array(self, name: str) -> pa.Array:
        """(N,) a column that is only read, as Arrow has it."""
        return self.columns.array(name).take(pa.array(self.places))

    def put(self, name: str, values: Sequence[Any]) -> None:
        """(N,) cells of a column are written."""
        self.columns.written(name).fill(self.places, values, len(self.columns))

    def take(self, chosen: NDArray[np.integer[Any]]) -> Rows:
        """The rows at these positions among these rows, in this order."""
        return Rows(self.columns, self.places[chosen])

    def usable(self) -> Rows:
        """Those without a reason why they cannot be used."""
        return self.take(np.flatnonzero(~self.columns.filled("reason")[self.places]))

    def refused(self) -> Rows:
        """Those with one."""
        return self.filled("reason")


class _Streamed(Sequence[Any]):
    """The cells of an array, made Python's as they are read."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, place: Any) -> Any:
        return self._array[place].as_py()

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self._array), _STREAMED_ROWS):
            yield from self._array.slice(start, _STREAMED_ROWS).to_pylist()


def codes_of(array: pa.Array, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) a number for each cell at these places, equal where the cells are; -1 for an empty one."""
    codes = array.dictionary_encode().indices.take(
        pa.array(places)
    )  # not of the cells that are taken: they would be copied
    return np.asarray(codes.cast(pa.int64()).fill_null(-1))


def contents_of(columns: Columns, places: NDArray[np.int64], inputs: Sequence[str]) -> NDArray[np.int64]:
    """(N,) a number for the canonical media of each row at these places, equal where all of them are."""
    return number_rows(*(codes_of(columns.array(f"{name}_digest"), places) for name in inputs))


def number_rows(*columns: NDArray[np.integer[Any] | np.bool_]) -> NDArray[np.int64]:
    """(N,) a number from 0 for each row of numbers (N,) from -1 on, equal where all of its numbers are, in their order."""
    found = np.asarray(columns[0], np.int64)
    for more in columns[1:]:
        found = np.unique(found, return_inverse=True)[1].reshape(-1)  # so that the product fits 64 bits
        found = found * (int(more.max(initial=0)) + 2) + more + 1
    return np.unique(found, return_inverse=True)[1].reshape(-1)


def recurring(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether a number, from -1 on and few beyond the number of rows, stands there more than once."""
    return np.asarray(np.bincount(codes + 1)[codes + 1] > 1) if len(codes) else np.zeros(0, bool)
