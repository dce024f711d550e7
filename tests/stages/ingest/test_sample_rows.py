"""Rows as views of columns: what recurs is found by numbers, and a digest is of the cells, however a table is cut."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tasks.ingest.sample_rows import Columns, Rows, codes_of, contents_of, number_rows, recurring
from tasks.ingest.table_digest import digest_table


def test_a_row_reads_and_writes_its_cells() -> None:
    columns = Columns(pa.table({"id": ["a", "b"], "reason": pa.array([None, "x"], pa.string())}))
    first, second = Rows(columns)
    first |= {"reason": "duplicate", "duplicate_of": second}
    assert (first["id"], first["reason"], second["reason"]) == ("a", "duplicate", "x")
    assert first["duplicate_of"] is second
    assert second["duplicate_of"] is first.get("nothing") is None
    assert Rows(columns).cells("reason") == ["duplicate", "x"]


@pytest.mark.parametrize("reasons", [[None] * 9, ["x", *[None] * 8], ["x"] * 9, ["x"] * 8 + [None]])
def test_cells_are_what_was_written_whether_few_or_most_are_filled(reasons: list[str | None]) -> None:
    rows = Rows(Columns(pa.table({"id": list("abcdefghi"), "reason": pa.array(reasons, pa.string())})))
    assert rows.cells("reason") == reasons
    assert rows.refused().cells("id") == [name for name, reason in zip("abcdefghi", reasons, strict=True) if reason]
    assert len(rows.usable()) == reasons.count(None)
    some = rows.take(np.array([8, 0, 4]))
    some.put("reason", ["y", None, "z"])
    expected = [None, *reasons[1:4], "z", *reasons[5:8], "y"]
    assert rows.cells("reason") == expected
    rows.put("reason", list("ABCDEFGHI"))
    assert some.cells("reason") == ["I", "A", "E"]
    assert list(some.streamed("id")) == ["i", "a", "e"] == some.cells("id")


def test_rows_have_one_number_where_all_their_numbers_are_equal() -> None:
    columns = np.array([[3, -1, 3, 3, 7], [0, 0, 0, -1, 0], [1, 1, 1, 1, 1]])
    assert number_rows(*columns).tolist() == [2, 0, 2, 1, 3]
    assert number_rows(np.array([True, False])).tolist() == [1, 0]


def test_equal_contents_have_equal_numbers() -> None:
    columns = Columns(
        pa.table({"image_digest": ["p", "p", "q", None, "p"], "text_digest": [None, "t", "t", "t", None]})
    )
    places = Rows(columns).places
    assert recurring(contents_of(columns, places, ("image", "text"))).tolist() == [True, False, False, False, True]
    codes = codes_of(columns.array("image_digest"), np.array([3, 4, 0]))
    assert codes[0] == -1
    assert codes[1] == codes[2] >= 0


def test_a_digest_is_of_names_and_cells() -> None:
    table = pa.table({"a": [str(n) for n in range(10_001)], "b": [None] * 10_001})
    assert digest_table(pa.concat_tables([table.slice(0, 7), table.slice(7)])) == digest_table(table)
    assert digest_table(table.rename_columns(["a", "c"])) != digest_table(table)
    assert digest_table(table.slice(1)) != digest_table(table)
