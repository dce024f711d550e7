"""JSON as it is exported: by line, as an array, pretty-printed; and what a broken one says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import DataError
from tasks.ingest.sources import json_rows
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.tables import open_table

ROWS = [{"id": n, "text": f"é {n}", "label": n % 2, "more": {"a": [n]}} for n in range(5)]
FORMS = {
    "lines": "\n".join(map(json.dumps, ROWS)),
    "array": json.dumps(ROWS),
    "pretty array": json.dumps(ROWS, indent=2),
    "pretty objects": "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "a row a line": "[" + ",\n".join(map(json.dumps, ROWS)) + "]\n",
    "byte-order mark": "\ufeff" + json.dumps(ROWS, ensure_ascii=False),
}


def read(path: Path, text: str) -> list[Any]:
    path.write_text(text, encoding="utf-8")
    return list(open_table(path, ReadLimits()).rows)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["m.json", "m.jsonl"])
@pytest.mark.parametrize("block", [1, 1 << 18])
def test_a_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, name: str, block: int) -> None:
    monkeypatch.setattr(json_rows, "_BLOCK_CHARS", block)
    assert [row.values for row in read(tmp_path / name, FORMS[form])] == ROWS
    manifest = open_table(tmp_path / name, ReadLimits())
    assert (manifest.columns, manifest.count) == (("id", "text", "label", "more"), 5)


def test_nan_is_an_empty_cell(tmp_path: Path) -> None:
    assert [row.values for row in read(tmp_path / "m.jsonl", '{"a": NaN, "b": 1}\n')] == [{"a": None, "b": 1}]
    assert [row.values for row in read(tmp_path / "m.json", '[{"a": NaN}]')] == [{"a": None}]


def test_a_value_of_an_array_that_cannot_be_used_costs_its_row(tmp_path: Path) -> None:
    text = '[{"a": 1}, 5, {"a": 1, "a": 2}, {"a": 1e999}, {"a": "\\ud800"}, {"a": Infinity}, {"a": 7}]'
    rows = read(tmp_path / "m.json", text)
    assert [row.reason for row in rows] == [None, *["unreadable-row"] * 5, None]
    assert rows[-1].values == {"a": 7}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1},\n{"a": 2}\n{"a": }]', r"beyond line 3 \(Expecting value\)"),
        ('[{"a": 1}', r"beyond line 1"),
        ('[{"a": 1}] x', r"beyond line 1 \(there is more after the end of the array\)"),
    ],
)
def test_a_broken_array_names_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path / "m.json", text)
