"""Tables become rows: CSV, TSV, JSON lines, Parquet. A line that cannot be read costs that line, where the format allows."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import Manifest, Row
from tasks.ingest.sources.encodings import NotText, decode_table
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.parquet import open_parquet

TABLES = {".csv": ",", ".tsv": "\t", ".jsonl": "", ".ndjson": "", ".parquet": ""}
"""Accepted file endings, with the delimiter where there is one."""
_FIELD_BYTES = 64 << 20  # largest CSV field: an inlined text, never a limit that a sane file meets
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def open_table(path: Path, limits: ReadLimits) -> Manifest:
    """The rows of a table file. UsageError for an unknown ending, DataError for a file that is not such a table."""
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise UsageError(
            f"data {str(path)!r}: {suffix or 'no'} ending; accepted are {', '.join(TABLES)}, or a folder per class"
        )
    size = path.stat().st_size
    if size == 0:
        raise DataError(f"manifest {path}: the file is empty")
    if size > limits.manifest_mb * 1e6:
        raise DataError(f"manifest {path}: {size} bytes; the limit is data.max_manifest_mb = {limits.manifest_mb:g}")
    if suffix == ".parquet":
        return open_parquet(path, limits)
    return _open_jsonl(path) if suffix in (".jsonl", ".ndjson") else _open_csv(path, TABLES[suffix])


# -- CSV, TSV ---


def _open_csv(path: Path, delimiter: str) -> Manifest:
    csv.field_size_limit(_FIELD_BYTES)
    try:
        text, note = decode_table(path.read_bytes())
        read = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except NotText as error:
        raise DataError(f"manifest {path}: {error}") from None
    except csv.Error as error:
        raise DataError(f"manifest {path}: not readable as a table ({error})") from None
    lines = [(number, line) for number, line in enumerate(read, start=1) if line]
    if not lines:
        raise DataError(f"manifest {path}: the file holds no rows")
    header = [name.strip() for name in lines[0][1]]
    if any("\x00" in name for name in header):
        raise DataError(f"manifest {path}: a NUL character in the header; save it as UTF-8 text")
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(f"manifest {path}: column {repeated[0]!r} appears twice; rename one")
    notes = () if note is None else (f"{path.name} {note}",)
    return Manifest(path, path.parent, tuple(header), _csv_rows(lines[1:], header), notes)


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
        if file.read(2) in _UTF16_MARKS:
            raise DataError(f"manifest {path}: UTF-16; JSON lines are UTF-8 (RFC 8259): save it as UTF-8")
        file.seek(0)
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
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_refuse_repeats
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a surrogate pair cannot be stored
    except (ValueError, RecursionError) as error:
        return Row(number, {}, "unreadable-row", f"{type(error).__name__}: {str(error)[:200]}")
    if not isinstance(value, dict):
        return Row(number, {}, "unreadable-row", f"a JSON {type(value).__name__}, expected an object")
    return Row(number, value)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is larger than a number can be")
    return value


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key appears twice")
    return values
