"""One table, three readers: numbers stay numbers in Prefect's artifacts, and whatever a cell holds, it stays one cell."""

from __future__ import annotations

import pytest

from tasks.display_table import DisplayTable
from tasks.escaping import one_line
from tests.support.hostile import HOSTILE_NAMES
from tests.support.markdown import markup_of, tables_of


def test_rows_with_other_keys_share_the_columns_in_the_order_they_come() -> None:
    table = DisplayTable.of([{"a": 1, "b": None}, {"b": True, "c": [1, 2]}])
    assert table.columns == ("a", "b", "c")
    assert table.as_records() == [{"a": 1, "b": None, "c": None}, {"a": None, "b": True, "c": "[1, 2]"}]
    assert list(table.as_text()) == [("1", "–", "–"), ("–", "yes", "[1, 2]")]
    assert tables_of(table.as_markdown()) == [[["a", "b", "c"], ["1", "–", "–"], ["–", "yes", "[1, 2]"]]]


def test_without_rows_the_head_stays() -> None:
    table = DisplayTable(("a", "b"), ())
    assert (table.as_records(), list(table.as_text())) == ([], [])
    assert tables_of(table.as_markdown()) == [[["a", "b"]]]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_cell_or_head_stays_one_cell_of_text(name: str) -> None:
    table = DisplayTable(("x", name), ((name, 1),))
    shown = one_line(name).strip()
    text = table.as_markdown()
    assert tables_of(text) == [[["x", shown], [shown, "1"]]]
    assert markup_of(text) == set()
    (record,) = table.as_records()
    assert record == {"x": one_line(name), one_line(name): 1}
    assert list(table.as_text()) == [(one_line(name), "1")]
