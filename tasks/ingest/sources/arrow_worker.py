"""Arrow files, streams as `datasets` saves them and the file format, read as isolated_worker.py reads Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tasks.ingest.sources.parquet_worker import BATCH_ROWS, TINY_VALUES, VALUES_PER_BYTE

_FILE, _OLD_FEATHER = b"ARROW1", b"FEA1"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
"""The last bytes of a whole stream."""


@dataclass(frozen=True)
class Rows:
    """How many there are."""

    num_rows: int


class ArrowFile:
    """An Arrow file whose every batch was found to be what it declares; it answers as pyarrow's ParquetFile does."""

    def __init__(self, path: str, limit_bytes: float) -> None:
        self._path = path
        self._size = os.stat(path).st_size  # noqa: PTH116
        with Path(path).open("rb") as file:
            start = file.read(8)
            file.seek(-min(8, self._size), os.SEEK_END)
            self._end = file.read(8)
        if start.startswith(_OLD_FEATHER):
            raise OSError("version 1 of Feather; write it again by a pandas of today, or as Parquet")
        self._is_stream = not start.startswith(_FILE)
        self.metadata = Rows(self._check(limit_bytes))

    @property
    def schema_arrow(self) -> pa.Schema:
        """The columns."""
        with pa.OSFile(self._path) as source:
            return self._open(source).schema

    def iter_batches(
        self, batch_size: int = BATCH_ROWS, *, columns: list[str] | None = None, use_threads: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The rows, of some columns or all; for `COLUMN.bytes` the whole column."""
        for batch in self._batches():
            if columns is not None:
                named = [name for name in batch.schema.names if name in columns or f"{name}.bytes" in columns]
                batch = batch.select(named)  # noqa: PLW2901
            for start in range(0, batch.num_rows, batch_size):
                yield batch.slice(start, batch_size)

    def _open(self, source: pa.NativeFile) -> pa.ipc.RecordBatchStreamReader | pa.ipc.RecordBatchFileReader:
        return pa.ipc.open_stream(source) if self._is_stream else pa.ipc.open_file(source)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(self._path) as source:
            reader = self._open(source)
            if not self._is_stream:
                yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
                return
            yield from reader
            if source.tell() != self._size:
                raise OSError(f"its stream ends at byte {source.tell()} of {self._size}; what follows is not read")
            if self._end != _END_OF_STREAM:
                raise OSError("it ends before its end mark: it was cut off, or is still being written")

    def _check(self, limit_bytes: float) -> int:
        """The number of rows. Raises OSError and ArrowException where sizes are out of proportion, or offsets lead nowhere."""
        rows = size = 0
        for batch in self._batches():
            rows += batch.num_rows
            if rows > max(TINY_VALUES, VALUES_PER_BYTE * self._size):  # a column of nulls needs no bytes at all
                raise OSError(f"it has {self._size} bytes and declares {rows} rows")
            batch.validate(full=True)
            size += batch.nbytes
            if size > limit_bytes:
                raise OSError(
                    f"its batches hold {size} bytes, the limit is data.max_manifest_mb = {limit_bytes / 1e6:g}"
                )
        return rows


def open_arrow(path: str, limit_bytes: float) -> ArrowFile:
    """The file, checked. Raises OSError and ArrowException."""
    return ArrowFile(path, limit_bytes)
