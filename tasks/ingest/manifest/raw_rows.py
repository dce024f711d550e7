"""The rows that scan reads: on disk as they come, in memory only the columns that are changed once all rows are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.table_digest import SLICE_ROWS, digest_cells

RawRow = dict[str, Any]
"""A located row by column of the raw schema, three for each input, with what is kept apart of it once all rows are read."""


class RawRows:
    """A table in a Parquet file, in row groups of SLICE_ROWS rows, with some of its columns replaced."""

    def __init__(self, path: Path, schema: pa.Schema, rows: Iterable[list[RawRow]]) -> None:
        """The rows, which come in lists, are in the file at `path`."""
        self._path, self.schema = path, schema
        self._replaced: dict[str, pa.Array] = {}
        self.num_rows = 0
        self.counts = dict.fromkeys(schema.names, 0)
        """Column to how many of its cells are filled."""
        with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
            for part in _slices(rows, schema):
                writer.write_table(part, SLICE_ROWS)
                self.num_rows += part.num_rows
                for name in schema.names:
                    self.counts[name] += part.num_rows - part[name].null_count

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """A whole column."""
        replaced = self._replaced.get(name)
        if replaced is not None:
            return pa.chunked_array([replaced])
        with pq.ParquetFile(self._path) as file:
            return file.read([name])[name]

    def replace(self, name: str, values: Sequence[Any]) -> None:
        """A column has other cells."""
        self._replaced[name] = found = pa.array(values, self.schema.field(name).type)
        self.counts[name] = len(found) - found.null_count

    def slices(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """These columns, SLICE_ROWS rows at a time."""
        schema = pa.schema([self.schema.field(name) for name in names], metadata=self.schema.metadata)
        stored = [name for name in names if name not in self._replaced]
        with pq.ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                part = file.read_row_group(group, columns=stored, use_threads=False)
                start = group * SLICE_ROWS
                cells = [
                    self._replaced[name].slice(start, part.num_rows) if name in self._replaced else part[name]
                    for name in names
                ]
                yield pa.table(cells, schema=schema)

    def digest(self, names: Sequence[str]) -> str:
        """As digest_table of these columns."""
        return digest_cells((name, part[name].to_pylist()) for name in names for part in self.slices([name]))

    def write(self, path: Path, names: Sequence[str]) -> None:
        """The columns are in a Parquet file at `path`."""
        schema = pa.schema([self.schema.field(name) for name in names], metadata=self.schema.metadata)
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for part in self.slices(names):
                writer.write_table(part)


def _slices(rows: Iterable[list[RawRow]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of SLICE_ROWS rows each, but for the last."""
    waiting: list[RawRow] = []
    for some in rows:
        waiting += some
        while len(waiting) >= SLICE_ROWS:
            yield _table(waiting[:SLICE_ROWS], schema)
            waiting = waiting[SLICE_ROWS:]
    if waiting:
        yield _table(waiting, schema)


def _table(rows: list[RawRow], schema: pa.Schema) -> pa.Table:
    """The rows by column; those that no row has a cell of cost nothing, and are most of them."""
    named = set().union(*rows)
    columns = [
        pa.array([row.get(field.name) for row in rows], field.type)
        if field.name in named
        else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
