"""Excel workbooks: the first sheet as a table, cells as they are meant, and what is no table."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from tasks.errors import DataError
from tasks.ingest.sources.detect import open_manifest
from tests.support.layouts import ask_worker, write_workbook

DAY = datetime.date(2024, 5, 6)
MOMENT = datetime.datetime(2024, 5, 6, 7, 8)  # noqa: DTZ001 - Excel knows no zones


def test_cells_as_they_are_meant(tmp_path: Path) -> None:
    rows = [
        [None, None],
        [None, "id", " text ", None, "label", 2024],
        [None, "007", "#N/A", None, True, 1.5],
        [None, None, None, None, None, None],
        [None, 7, MOMENT, "stray", 3.0, DAY],
    ]
    path = write_workbook(tmp_path / "m.xlsx", rows)
    book = openpyxl.load_workbook(path)
    book.create_sheet("Notes")
    book.save(path)
    ((manifest, _),) = open_manifest(path)
    assert manifest.columns == ("id", "text", "label", "2024")
    assert [(row.number, row.values) for row in manifest.rows] == [
        (3, {"id": "007", "text": None, "label": True, "2024": 1.5}),
        (5, {"id": 7, "text": "2024-05-06T07:08:00", "label": 3, "2024": "2024-05-06"}),
    ]
    assert manifest.notes == (
        "sheet 'Data' is read, its headings stand in row 2; not read are Notes: to read another sheet, put it first",
        "sheet 'Data': columns without a heading are left out (1 of their cells are filled); is that a "
        "title, or a second row of headings, above them? Headings are one row: delete what stands above it",
    )


def test_what_pandas_writes(tmp_path: Path, run_ingest: Any) -> None:
    frame = pd.DataFrame(
        {"id": range(40), "text": [f"word {n}" for n in range(40)], "label": [n % 2 == 0 for n in range(40)]}
    )
    frame.to_excel(tmp_path / "m.xlsx", index=False)
    done = run_ingest(tmp_path / "m.xlsx", "split.near_duplicates=false")
    assert (len(done.samples), done.clean.labels) == (40, ("false", "true"))
    assert set(done.samples) == {str(number) for number in range(40)}


@pytest.mark.parametrize(
    ("merged", "words"),
    [
        ("A1:C1", "first filled row holds merged cells (A1:C1); a heading stands in one cell over one column"),
        ("B1:B2", "first filled row holds merged cells (B1:B2)"),
    ],
)
def test_merged_headings_are_refused(tmp_path: Path, merged: str, words: str) -> None:
    path = write_workbook(tmp_path / "m.xlsx", [["id", "text", "label"], [1, "a", "b"], [2, "c", "d"]], merged=merged)
    assert words in ask_worker(path)[0]["error"]


def test_merged_cells_below_are_told(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "m.xlsx", [["text", "label"], ["a", "x"], ["b", "x"], ["c", "y"]], merged="B2:B3")
    head, rows = ask_worker(path)
    assert rows == [["a", "x"], ["b", None], ["c", "y"]]
    assert head["notes"][1] == (
        "sheet 'Data': 1 ranges of cells are merged, the first is B2:B3; only the first cell of each holds its value"
    )


def test_what_is_no_workbook_or_too_large_once_unpacked(tmp_path: Path) -> None:
    path = write_workbook(tmp_path / "m.xlsx", [["text"], ["a"]])
    (tmp_path / "bytes.xlsx").write_bytes(b"\xd0\xcf\x11\xe0 an old or a locked one")
    assert "save it as .xlsx, without a password" in ask_worker(tmp_path / "bytes.xlsx")[0]["error"]
    with zipfile.ZipFile(tmp_path / "other.xlsx", "w") as archive:
        archive.writestr("a.txt", "no workbook")
    assert ask_worker(tmp_path / "other.xlsx")[0]["error"]
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "bomb.xlsx", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in source.namelist():
            bomb.writestr(name, source.read(name))
        bomb.writestr("xl/media/zeros.bin", bytes(20 << 20))
    assert "bytes and declares 2" in ask_worker(tmp_path / "bomb.xlsx")[0]["error"]
    assert "the limit is data.max_manifest_mb = 1" in ask_worker(tmp_path / "bomb.xlsx", manifest_mb=1)[0]["error"]


def test_a_column_that_appears_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'text' appears twice; rename one"):
        open_manifest(write_workbook(tmp_path / "m.xlsx", [["text", "text"], [1, 2]]))
