"""Predictions as Parquet, CSV and JSON lines: what was put in is what other programs read, and a file is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import EnvironmentFailed
from tasks.modeling.prediction_files import write_tables

NOTES = ['say "hi", he said', "two\nlines", "ü; \u00a0", "", None]
ROWS: list[dict[str, Any]] = [
    {
        "row": number,
        "id": f"00{number}",
        "predicted": None if number == 4 else "-1.5",
        "targets": None if number == 4 else '{"size":"2"}',
        "probability": None if number == 4 else 0.9,
        "probabilities": None if number == 4 else [0.9, 0.1],
        "note": note,
        "v": [1.5, None],
        "nan": float("nan"),
        "flag": number == 0,
    }
    for number, note in enumerate(NOTES)
]
FLOATS = {"probability": pa.float32(), "probabilities": pa.list_(pa.float32())}


def tables(rows: list[dict[str, Any]] = ROWS) -> Iterator[pa.Table]:
    """The rows, two at a time."""
    inferred = pa.Table.from_pylist(ROWS).schema
    fields = [pa.field(field.name, FLOATS.get(field.name, field.type)) for field in inferred]
    schema = pa.schema(fields, {"crossmodal.labels": json.dumps(["a", "b"])})
    for start in range(0, len(rows), 2):
        yield pa.Table.from_pylist(rows[start : start + 2], schema=schema)


def test_csv_reads_back_cell_by_cell(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    assert write_tables(path, tables()) == []
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert read["row"].tolist() == ["0", "1", "2", "3", "4"]
    assert read["id"].tolist() == ["000", "001", "002", "003", "004"]
    assert read["note"].tolist() == ['say "hi", he said', "two\nlines", "ü; \u00a0", "", ""]
    assert read.iloc[0][["predicted", "probability", "probabilities", "v", "nan", "flag"]].tolist() == [
        "-1.5", "0.9", '{"a": 0.9, "b": 0.1}', "[1.5, null]", "nan", "true"
    ]  # fmt: skip
    assert read.iloc[4][["predicted", "targets", "probability", "probabilities"]].tolist() == [""] * 4
    assert path.read_bytes().count(b"\r") == 0


def test_json_lines_have_outputs_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    assert write_tables(path, tables()) == []
    first, *_, last = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == ROWS[0] | {"targets": {"size": "2"}, "probabilities": {"a": 0.9, "b": 0.1}, "nan": None}
    assert (last["predicted"], last["probability"], last["probabilities"], last["row"]) == (None, None, None, 4)


def test_parquet_keeps_types(tmp_path: Path) -> None:
    path = tmp_path / "P.PARQUET"
    assert write_tables(path, tables()) == []
    read, expected = pq.read_table(path), pa.concat_tables(tables())
    assert read.drop("nan").to_pylist() == expected.drop("nan").to_pylist()
    assert read.schema.metadata == expected.schema.metadata
    assert [str(kind) for kind in read.schema.types] == [
        str(kind).replace("item", "element") for kind in expected.schema.types
    ]


@pytest.mark.parametrize(
    ("note", "cell"),
    [
        ("=1+1", "'=1+1"), ("@user hello", "'@user hello"), ("-x", "'-x"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1.5e-3", "-1.5e-3"), ("+3", "+3"), ("a\u202eb", "a⟨U+202E⟩b"),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_would_run_is_inert_in_csv_and_as_it_is_elsewhere(
    note: str, cell: str, tmp_path: Path
) -> None:
    rows = [ROWS[0] | {"note": note}]
    notes = write_tables(tmp_path / "p.csv", tables(rows))
    assert pd.read_csv(tmp_path / "p.csv", dtype=str)["note"].tolist() == [cell]
    assert [text.split(" hold")[0] for text in notes] == ([] if note == cell else ["1 rows"])
    write_tables(tmp_path / "p.jsonl", tables(rows))
    assert json.loads((tmp_path / "p.jsonl").read_text())["note"] == note


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.Table]:
        yield from tables()
        raise KeyboardInterrupt

    path = tmp_path / "p.csv"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt):
        write_tables(path, broken())
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(EnvironmentFailed, match=r"--out '.*/none/p.csv': cannot be written \(No such file"):
        write_tables(tmp_path / "none" / "p.csv", tables())
