"""Predictions as a file: Parquet, CSV or JSON lines by its ending, written table by table and put in place in one step."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import EnvironmentFailed
from tasks.escaping import json_text, spreadsheet_cell
from tasks.store import replacing

Writer = Callable[[Path, Iterator[pa.Table]], list[str]]
"""Writes tables of one schema to a path, and returns notes."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def write_tables(path: Path, tables: Iterable[pa.Table]) -> list[str]:
    """`path` holds the tables one after the other, in the format of its ending; with notes. EnvironmentFailed where it cannot
    be written: then it is as it was.
    """
    try:
        with replacing(path) as scratch:
            return WRITERS[path.suffix.lower()](scratch, iter(tables))
    except OSError as error:
        raise EnvironmentFailed(f"--out {str(path)!r}: cannot be written ({error.strerror or error})") from None


def _write_parquet(path: Path, tables: Iterator[pa.Table]) -> list[str]:
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    return []


def _write_jsonl(path: Path, tables: Iterator[pa.Table]) -> list[str]:
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            file.writelines(f"{json_text(_finite(row))}\n" for row in _rows(table))
    return []


def _write_csv(path: Path, tables: Iterator[pa.Table]) -> list[str]:
    changed = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, table in enumerate(tables):
            if number == 0:
                writer.writerow(map(_inert, table.column_names))
            for row in _rows(table):
                cells = [_cell(value) for value in row.values()]
                inert = [_inert(cell) for cell in cells]
                changed += inert != cells
                writer.writerow(inert)
    note = (
        f"{changed} rows hold cells that a spreadsheet would run as a formula, or not show; they are written inert in CSV, "
        "with an apostrophe before them (Parquet and JSON lines hold them as they are)"
    )
    return [note] if changed else []


WRITERS: Mapping[str, Writer] = MappingProxyType(
    {".parquet": _write_parquet, ".csv": _write_csv, ".jsonl": _write_jsonl}
)
"""By the ending of a file's name."""


# -- rows as people read them ---


def _rows(table: pa.Table) -> Iterator[dict[str, object]]:
    """The rows; outputs by name, answers in further label columns as an object, floats in the fewest digits that tell them."""
    names: list[str] = json.loads(table.schema.metadata[b"crossmodal.labels"])
    for name in ("probability", "probabilities"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, _shortest(table.column(place).combine_chunks()))
    for row in table.to_pylist():
        outputs, answers = row["probabilities"], row["targets"]
        if outputs is not None and len(set(names)) == len(names):
            row["probabilities"] = dict(zip(names, outputs, strict=True))
        row["targets"] = None if answers is None else json.loads(answers)
        yield row


def _shortest(numbers: pa.Array) -> pa.Array:
    """float32 as the float64 of the fewest digits that reads as it: 0.9, not 0.8999999761581421."""
    if pa.types.is_list(numbers.type):
        values = _shortest(numbers.values)
        return pa.ListArray.from_arrays(numbers.offsets, values, mask=numbers.is_null())
    return numbers.cast(pa.string()).cast(pa.float64())


def _finite(value: Any) -> Any:
    """The value with null for every number that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json_text(_finite(value)) if isinstance(value, bool | list | dict) else str(value)


def _inert(cell: str) -> str:
    return cell if cell.isalnum() or _NUMBER.fullmatch(cell) else spreadsheet_cell(cell)
