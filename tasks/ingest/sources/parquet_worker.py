"""Parquet as isolated_worker.py sends it, and all that comes as Arrow's record batches: rows as JSON, media as raw bytes.

A few bytes of Parquet can declare gigabytes (a page header, a run of repeated values): what a footer declares is checked
before anything is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.sources.isolated_messages import Send

BATCH_ROWS = 256
_CELL_ITEMS = 1_000
"""Of a list or struct in a cell so many entries are passed on: no column that means something to us holds one."""
_UUID_BYTES = 16
"""Databases keep identifiers as so many bytes."""
TINY_BYTES = 16 << 20  # up to this a file may declare anything
_RATIO = 1_000  # zstd and snappy stay well below, on anything that is not all one value
TINY_VALUES = 1_000_000
VALUES_PER_BYTE = 64


class Counted(Protocol):
    """What knows how many rows there are."""

    @property
    def num_rows(self) -> int:
        """Rows in all."""


class Batches(Protocol):
    """A file that gives record batches as pyarrow's ParquetFile does, as often as it is asked."""

    @property
    def schema_arrow(self) -> pa.Schema:
        """The columns."""

    @property
    def metadata(self) -> Counted:
        """The number of rows."""

    def iter_batches(
        self, batch_size: int = BATCH_ROWS, *, columns: list[str] | None = None, use_threads: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """The rows, of some columns or all; `COLUMN.bytes` is a field of a struct."""


def open_parquet(path: str, manifest_mb: float) -> pq.ParquetFile:
    """The file, when what its footer declares is in proportion to its size. Raises OSError and ArrowException."""
    file = pq.ParquetFile(path, page_checksum_verification=True, buffer_size=1 << 20)
    problem = disproportion(file.metadata, os.stat(path).st_size, manifest_mb * 1e6)  # noqa: PTH116
    if problem is not None:
        raise OSError(problem)
    return file


def disproportion(footer: pq.FileMetaData, file_bytes: int, limit_bytes: float) -> str | None:
    """What is wrong with the sizes that a footer declares; None when they can be those of an honest file."""
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    sizes = [group.total_byte_size for group in groups] + [chunk.total_uncompressed_size for chunk in chunks]
    if min([footer.num_rows, *sizes, *(chunk.num_values for chunk in chunks)]) < 0:
        return "it declares a negative size"
    if sum(group.num_rows for group in groups) != footer.num_rows:
        return f"it declares {footer.num_rows} rows, its row groups another number"
    declared = max(sum(group.total_byte_size for group in groups), sum(c.total_uncompressed_size for c in chunks))
    if declared > limit_bytes:
        return f"it declares {declared} bytes, the limit is data.max_manifest_mb = {limit_bytes / 1e6:g}"
    if declared > max(TINY_BYTES, _RATIO * file_bytes):
        return f"it has {file_bytes} bytes and declares {declared}"
    values = max([footer.num_rows, *(chunk.num_values for chunk in chunks)])
    if values > max(TINY_VALUES, VALUES_PER_BYTE * file_bytes):
        return f"it has {file_bytes} bytes and declares {values} values in a column"
    return None


# -- rows ---


def send_rows(file: Batches, send: Send) -> None:
    """Sends the column names, then the rows in batches. A row that Python cannot hold is sent as the reason."""
    schema = file.schema_arrow
    paths = {field.name for field in schema if _has_path(field.type) and _holds_none(file, field.name)}
    inline = [_holds_bytes(field.type) and field.name not in paths for field in schema]
    classes = class_names(schema.metadata or {})
    send({"columns": list(schema.names), "inline": inline, "rows": file.metadata.num_rows, "classes": classes}, b"")
    for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
        send({"batch": list(_records(_with_paths(batch, paths), inline))}, b"")


def _with_paths(batch: pa.RecordBatch, names: set[str]) -> pa.RecordBatch:
    """The batch with these columns of structs replaced by the paths in them."""
    for name in names:
        place = batch.schema.get_field_index(name)
        column = batch.column(place)
        batch = batch.set_column(place, name, column.flatten()[column.type.get_field_index("path")])
    return batch


def class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Column to the names of its class ids, as `datasets` leaves them in a schema; what is not of that form is passed over."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        found = {
            str(column): feature["names"]
            for column, feature in ((column, feature.get("feature", feature)) for column, feature in features.items())
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {
        column: names
        for column, names in found.items()
        if isinstance(names, list) and all(isinstance(name, str) for name in names)
    }


def _has_path(kind: pa.DataType) -> bool:
    """Whether a cell is a struct of bytes and a path, as `datasets` stores pictures and sounds."""
    return pa.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind} and _holds_bytes(kind)


def _holds_none(file: Batches, name: str) -> bool:
    """Whether no cell of such a column holds bytes: then its paths are meant."""
    batches = file.iter_batches(batch_size=BATCH_ROWS, columns=[f"{name}.bytes"], use_threads=False)
    return all(not any(_bytes_of(batch.column(0)).to_pylist()) for batch in batches)


def _records(batch: pa.RecordBatch, inline: list[bool]) -> Iterator[list[Any] | str]:
    """The rows as lists; for one with a text that is not UTF-8, say, the reason."""
    if batch.num_columns == 0:
        yield from ([] for _ in range(batch.num_rows))
        return
    try:
        columns = [
            _digests(column) if holds else [plain_cell(cell) for cell in column.to_pylist()]
            for column, holds in zip(batch.columns, inline, strict=True)
        ]
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            yield f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            half = batch.num_rows // 2
            yield from _records(batch.slice(0, half), inline)
            yield from _records(batch.slice(half), inline)
        return
    yield from map(list, zip(*columns, strict=True))


def plain_cell(cell: Any) -> Any:
    """A cell as JSON: what has no form there (a time, a decimal) as its text, a long list or struct cut."""
    if cell is None or isinstance(cell, str | bool | int):
        return cell
    if isinstance(cell, float):
        return cell if math.isfinite(cell) else None if math.isnan(cell) else str(cell)
    if isinstance(cell, list | tuple):
        return [plain_cell(item) for item in cell[:_CELL_ITEMS]]
    if isinstance(cell, dict):
        return {str(name): plain_cell(item) for name, item in list(cell.items())[:_CELL_ITEMS]}
    return _bytes_as_text(cell) if isinstance(cell, bytes) else _as_text(cell)


def _as_text(cell: object) -> str:
    """A time, a decimal and the like; str() would write a decimal zero of nine places as 0E-9."""
    return format(cell, "f") if isinstance(cell, Decimal) else str(cell)


def _bytes_as_text(cell: bytes) -> str:
    """A UUID, as databases keep identifiers; other bytes are not passed on."""
    return str(uuid.UUID(bytes=cell)) if len(cell) == _UUID_BYTES else "bytes"


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _digests(column: pa.Array) -> list[str | None]:
    """The sha256 of each cell's bytes, "" where it holds none, None where there is no cell."""
    present = column.is_valid().to_pylist()
    cells = zip(present, _bytes_of(column).to_pylist(), strict=True)
    return [(hashlib.sha256(data).hexdigest() if data else "") if here else None for here, data in cells]


def _bytes_of(column: pa.Array) -> pa.Array:
    """The bytes of each cell: the cell itself, or the field `bytes` of a struct, null where the struct is null."""
    while pa.types.is_struct(column.type):
        column = column.flatten()[column.type.get_field_index("bytes")]
    return column


# -- media ---


def send_media(file: Batches, column: str, rows: set[int], send: Send) -> None:
    """Sends the bytes of the wanted 1-based rows of one column, batch by batch, in the order of the rows."""
    number = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column], use_threads=False):
        first, number = number + 1, number + batch.num_rows
        here = [row for row in range(first, number + 1) if row in rows]
        if here:
            cells = _bytes_of(batch.column(0)).take(pa.array([row - first for row in here])).to_pylist()
            send({"numbers": here, "sizes": [len(cell or b"") for cell in cells]}, b"".join(c or b"" for c in cells))
