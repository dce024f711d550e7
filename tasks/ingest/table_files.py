"""Tables become rows: CSV, TSV, JSON lines, Parquet. A line that cannot be read costs that line, where the format allows."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import DataError, UsageError
from tasks.ingest.rows import Inline, Manifest, Row

TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": "", ".parquet": ""}
"""Accepted file endings, with the delimiter where there is one."""
_FIELD_BYTES = 64 << 20  # largest CSV field: an inlined text, never a limit that a sane file meets
_BATCH_ROWS = 256


def open_table(path: Path) -> Manifest:
    """The rows of a table file. UsageError for an unknown ending, DataError for a file that is not such a table."""
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise UsageError(
            f"data {str(path)!r}: {suffix or 'no'} ending; accepted are {', '.join(TABLES)}, or a folder per class"
        )
    if path.stat().st_size == 0:
        raise DataError(f"manifest {path}: the file is empty")
    if suffix == ".parquet":
        return _open_parquet(path)
    return _open_jsonl(path) if suffix in (".jsonl", ".ndjson") else _open_csv(path, TABLES[suffix])


def _require_distinct(header: list[str], path: Path) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"manifest {path}: column {repeated[0]!r} appears twice; rename one")


# -- CSV, TSV ---


def _open_csv(path: Path, delimiter: str) -> Manifest:
    csv.field_size_limit(_FIELD_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            read = list(csv.reader(file, delimiter=delimiter, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"manifest {path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"manifest {path}: not readable as a table ({error})") from None
    lines = [(number, line) for number, line in enumerate(read, start=1) if line]
    if not lines:
        raise DataError(f"manifest {path}: the file holds no rows")
    header = [name.strip() for name in lines[0][1]]
    if any("\x00" in name for name in header):
        raise DataError(f"manifest {path}: a NUL character in the header; save it as UTF-8 text")
    _require_distinct(header, path)
    return Manifest(path, path.parent, tuple(header), _csv_rows(lines[1:], header))


def _csv_rows(lines: list[tuple[int, list[str]]], header: list[str]) -> Iterator[Row]:
    for number, line in lines:
        if any("\x00" in cell for cell in line):
            yield Row(number, {}, "nul-in-row", "a cell holds a NUL character")
        elif len(line) != len(header):
            detail = f"{len(line)} cells, the header has {len(header)}"
            yield Row(number, dict(zip(header, line, strict=False)), "ragged-row", detail)
        else:
            yield Row(number, dict(zip(header, line, strict=True)))


# -- JSON lines ---


def _open_jsonl(path: Path) -> Manifest:
    with path.open("rb") as file:
        rows = [
            _json_row(number, line) for number, line in enumerate(file, start=1) if line.strip(b"\xef\xbb\xbf \t\r\n")
        ]
    if not rows:
        raise DataError(f"manifest {path}: the file holds no rows")
    columns = tuple(dict.fromkeys(name for row in rows for name in row.values))
    if not columns:
        raise DataError(
            f"manifest {path}: no line is a JSON object with values; line {rows[0].number}: {rows[0].detail}"
        )
    return Manifest(path, path.parent, columns, iter(rows))


def _json_row(number: int, line: bytes) -> Row:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeats)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode(
                "utf-8"
            )  # an escaped half of a surrogate pair cannot be stored
    except (ValueError, RecursionError) as error:
        return Row(number, {}, "unreadable-row", f"{type(error).__name__}: {str(error)[:200]}")
    if not isinstance(value, dict):
        return Row(number, {}, "unreadable-row", f"a JSON {type(value).__name__}, expected an object")
    return Row(number, value)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values


# -- Parquet ---


def _open_parquet(path: Path) -> Manifest:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"manifest {path}: not readable as Parquet ({_one_line(error)})") from None
    if file.metadata.num_rows == 0:
        raise DataError(f"manifest {path}: the file holds no rows")
    _require_distinct(list(schema.names), path)
    inline = [field.name for field in schema if _holds_bytes(field.type)]
    return Manifest(path, path.parent, tuple(schema.names), _parquet_rows(path, file, inline))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _parquet_rows(path: Path, file: pq.ParquetFile, inline: list[str]) -> Iterator[Row]:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            media = {name: _digests(batch.column(name)) for name in inline}
            for index, values in enumerate(_records(batch.drop_columns(inline) if inline else batch)):
                number += 1
                if isinstance(values, str):
                    yield Row(number, {}, "unreadable-row", values)
                else:
                    yield Row(number, values | {name: cells[index] for name, cells in media.items()})
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"manifest {path}: damaged after row {number} ({_one_line(error)})") from None


def _records(batch: pa.RecordBatch) -> list[dict[str, Any] | str]:
    """The rows as dicts; for a row that Python cannot hold, such as text that is not UTF-8, the reason."""
    if batch.num_columns == 0:
        return [{} for _ in range(batch.num_rows)]
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [f"{type(error).__name__}: {_one_line(error)}"]
        return [record for row in range(batch.num_rows) for record in _records(batch.slice(row, 1))]


def _digests(column: pa.Array) -> list[Inline | None]:
    present = column.is_valid().to_pylist()
    cells = zip(present, _bytes_of(column).to_pylist(), strict=True)
    return [Inline(hashlib.sha256(data).hexdigest() if data else None) if here else None for here, data in cells]


def _bytes_of(column: pa.Array) -> pa.Array:
    """The bytes of each cell: the cell itself, or the field `bytes` of a struct, null where the struct is null."""
    while pa.types.is_struct(column.type):
        column = column.flatten()[column.type.get_field_index("bytes")]
    return column


def read_inline(path: Path, column: str, rows: set[int]) -> Iterator[tuple[int, bytes]]:
    """Yields (row number, bytes) for the wanted 1-based rows of one column of a Parquet file."""
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS, columns=[column]):
        first, number = number + 1, number + batch.num_rows
        here = [row for row in range(first, number + 1) if row in rows]
        if here:
            cells = _bytes_of(batch.column(0)).take(pa.array([row - first for row in here])).to_pylist()
            yield from ((row, data or b"") for row, data in zip(here, cells, strict=True))
