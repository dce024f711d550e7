"""Label columns as whole columns: one spelling a class, sets of labels by their separator, numbers by their form."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.refs import Target
from flows.known_labels import match_labels
from tasks.config import DataConfig
from tasks.config_sections import CsvConfig
from tasks.errors import DataError
from tasks.ingest.manifest.label_columns import one_form
from tasks.ingest.manifest.label_sets import find_separator, read_list
from tasks.ingest.manifest.label_spelling import unify_spelling
from tasks.ingest.manifest.number_forms import find_form

MakeData = Callable[..., Path]


@pytest.mark.parametrize(
    ("labels", "changed"),
    [
        (["0", "1"], {}),
        (["0.0", "1.0"], {"0.0": "0", "1.0": "1"}),
        (["0.0", "1.0", "0", "1"], {"0.0": "0", "1.0": "1"}),
        (["-1.0", "10.00"], {"-1.0": "-1", "10.00": "10"}),
        (["1.0", "1", "cat"], {"1.0": "1"}),
        (["1.0", "2.0", "cat"], {}),
        (["1.0", "1.1", "2.0"], {}),  # versions
        (["007", "7.0"], {}),
        (["True", "False"], {"True": "true", "False": "false"}),
        (["TRUE", "true", "no"], {"TRUE": "true"}),
        (["True", "Mixed"], {}),
        (["1", "true"], {}),
        (["12345678901234567890.0", "1"], {"12345678901234567890.0": "12345678901234567890"}),
    ],
)
def test_one_spelling_a_class(labels: list[str], changed: dict[str, str]) -> None:
    found, notes = unify_spelling(labels)
    assert found == changed
    assert len(notes) == bool(changed)


def test_labels_that_differ_in_case_stay_apart_and_are_told() -> None:
    changed, notes = unify_spelling(["Cat", "cat", "dog"])
    assert changed == {}
    assert notes == ["labels that differ in upper and lower case only are classes of their own: 'Cat' and 'cat'"]


def test_numbers_that_differ_in_leading_zeros_stay_apart_and_are_told() -> None:
    changed, notes = unify_spelling(["01", "1", "02", "10", "0", "00"])
    assert changed == {}
    assert notes == ["labels that differ in leading zeros only are classes of their own: '0' and '00', '01' and '1'"]
    assert unify_spelling(["01", "02", "10"]) == ({}, [])


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["(1,234.50)", "2,000.00"], [-1234.5, 2000.0]),
        (["($12.00)", "$7.50"], [-12.0, 7.5]),
        (["(5)", "3"], [-5.0, 3.0]),
        (["(12 %)", "3 %"], [-12.0, 3.0]),
        (["(5)%", "3%"], [-5.0, 3.0]),
        (["3 %", "(5) %"], [3.0, -5.0]),
        (["$(5.00)", "$3"], [-5.0, 3.0]),
        (["$3", "($5.00)", "$(1,234.50)"], [3.0, -5.0, -1234.5]),
        (["(5) kg", "(3 kg)"], [-5.0, -3.0]),
    ],
)
def test_numbers_in_brackets_are_negative(texts: list[str], numbers: list[float]) -> None:
    formed = one_form(texts, "label", "regression", DataConfig())
    assert [float(cell) for cell in formed.cells] == numbers
    assert formed.notes[0].endswith("numbers in brackets are negative")


@pytest.mark.parametrize(
    "texts",
    [
        *(["(-5)", "3"], ["((5))"], ["(5", "3"], ["(a)", "3"], ["-(5)", "3"], ["(5)3", "3"], ["(5)e3", "3"]),
        *(["$(-5)", "$3"], ["$($5)", "$3"], ["(5%)%", "3%"], ["(5)%", "3"]),
    ],
)
def test_brackets_that_hold_no_number(texts: list[str]) -> None:
    assert find_form(texts, CsvConfig(), "label") is None


def test_a_sign_before_brackets_is_refused_and_named(make_data: MakeData, run_ingest: Any) -> None:
    for texts in (["$3", "-$(5)"], ["$3", "-(5)"], ["(5)", "-(5)"]):
        with pytest.raises(DataError, match=rf"column 'label': {re.escape(repr(texts[1]))} has a sign before brackets"):
            find_form(texts, CsvConfig(), "label")
    path = make_data(12, change=lambda row, n: row | {"label": "-(5)" if n == 7 else str(n)})
    done = run_ingest(path, "data.problem=regression")  # one cell costs its row
    assert [row["detail"] for row in done.refused] == ["column 'label': '-(5)' is not a finite number"]


def test_spellings_over_several_tables_and_types(make_data: MakeData, run_ingest: Any) -> None:
    forms = ["1.0", "0", 1, 0.0, "1", "0.0"]
    path = make_data(6, change=lambda row, n: row | {"label": forms[n]})
    done = run_ingest(path)
    assert done.clean.labels == ("0", "1")
    assert "label: labels in several spellings are one class: '0.0' is '0', '1.0' is '1'" in done.raw.notes
    spelt = run_ingest(make_data(4, change=lambda row, n: row | {"label": ["caf\u00e9", "cafe\u0301", " x ", "x"][n]}))
    assert spelt.clean.labels == ("caf\u00e9", "x")
    assert any("combining characters and are one class" in note for note in spelt.raw.notes)


SETS = [["a", "b"], ["b"], ["a", "c"], ["b", "c"], ["c", "a", "b"]]


@pytest.mark.parametrize(
    ("join", "separator"),
    [("|".join, "|"), (",".join, ","), (", ".join, ","), (";".join, ";"), (" ".join, " "), ("\t".join, " ")],
)
def test_the_separator_of_sets(join: Callable[[list[str]], str], separator: str) -> None:
    cells = [join(labels) for labels in SETS]
    assert find_separator(cells) == separator
    formed, notes, _ = one_form(cells, "label", "multilabel", DataConfig())
    assert [sorted(cell) for cell in formed] == [sorted(labels) for labels in SETS]
    assert len(notes) == (separator != "|")


@pytest.mark.parametrize(
    "cells",
    [["hot dog", "ice cream"], ["a", "b", "a"], ["New York", "Los Angeles", "New York"], ["Smith, J", "Miller, K"], []],
)
def test_texts_that_are_no_sets(cells: list[str]) -> None:
    assert find_separator(cells) is None


def test_sets_without_a_separator_are_a_warning() -> None:
    _, notes, _ = one_form(["a/b", "c", "b/d"], "label", "multilabel", DataConfig())
    assert notes == [
        "label: no row has two labels, under data.problem=multilabel; its cells hold '/': set data.label_separator"
    ]
    formed, notes, _ = one_form(["a/b", "c"], "label", "multilabel", DataConfig(label_separator="/"))
    assert (formed, notes) == ([["a", "b"], ["c"]], [])


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("['a', 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("['a' 'b']", ["a", "b"]),
        ("('a',)", ["a"]),
        ("{'a', 'b'}", ["a", "b"]),
        ("[a, b]", ["a", "b"]),
        ("[1, 2.5]", [1, 2.5]),
        ("['it\\'s', \"b, c\"]", ["it's", "b, c"]),
        ("[]", []),
        ("[ ]", []),
        ("['a', ['b']]", None),
        ("['a'", None),
        ("[__import__('os').system('x')]", None),
        ("a", None),
        ("", None),
        ("{", None),
    ],
)
def test_lists_that_are_written_out(text: str, items: list[Any] | None) -> None:
    assert read_list(text) == items


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\\"), min_size=1, max_size=5), max_size=4))
def test_every_list_that_python_prints_is_read(items: list[str]) -> None:
    plain = [item for item in items if item.isprintable()]
    assert read_list(repr(plain)) == plain


def test_a_column_that_looks_like_sets_is_told(make_data: MakeData, run_ingest: Any) -> None:
    path = make_data(5, change=lambda row, n: row | {"label": str(SETS[n])})
    done = run_ingest(path)
    assert any("looks like several labels" in note and "data.problem=multilabel" in note for note in done.raw.notes)
    assert run_ingest(path, "data.problem=multilabel").clean.labels == ("a", "b", "c")


AUTO = CsvConfig()


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1,234.50", "7"], ["1234.50", "7"]),
        (["1.234,50", "7,5"], ["1234.50", "7.5"]),
        (["7,5", "8,25"], ["7.5", "8.25"]),
        (["12 %", "7.5%"], ["12", "7.5"]),
        (["$12", "-$7.50"], ["12", "-7.50"]),
        (["12 €", "7,50 €"], ["12", "7.50"]),
        (["1 234", "7"], ["1234", "7"]),
        (["1\u202f234,5", "7"], ["1234.5", "7"]),
        (["1'234.5", "1'000"], ["1234.5", "1000"]),
        (["12.5 kg", "7 kg"], ["12.5", "7"]),
        (["600", "1,100", "999"], ["600", "1100", "999"]),
        (["\u22125,5", "1,25"], ["-5.5", "1.25"]),
    ],
)
def test_a_form_of_numbers(texts: list[str], numbers: list[str]) -> None:
    form = find_form(texts, AUTO, "label")
    assert form is not None
    assert [form.read(text) for text in texts] == numbers


@pytest.mark.parametrize(
    "texts", [["1.5", "-2e3"], ["1", "x"], ["12 kg", "7 g"], ["1,23,4"], [], ["$1", "2 €"], ["1_000"]]
)
def test_no_form_of_numbers(texts: list[str]) -> None:
    assert find_form(texts, AUTO, "label") is None


def test_numbers_that_are_two_things_are_refused_and_named() -> None:
    with pytest.raises(
        DataError, match=r"column 'label': '1,234' is 1234 or 1\.234; say which with data\.csv\.decimal"
    ):
        find_form(["1,234", "5,678"], AUTO, "label")
    for options, number in ((CsvConfig(decimal=","), "1.234"), (CsvConfig(thousands=","), "1234")):
        form = find_form(["1,234", "5,678"], options, "label")
        assert form is not None
        assert form.read("1,234") == number


def test_labels_of_rows_to_be_predicted() -> None:
    target = Target(name="label", labels=("0", "1"))
    found = match_labels(["0.0", "1", None, "new", "2"], target)
    assert found.labels == ["0", "1", None, "new", "2"]
    assert found.rows == [True, True, False, False, False]
    assert (
        found.describe() == "2 rows give labels that the model does not know ('new', '2'); no figure counts these rows"
    )
    older = match_labels(["1", "True"], Target(name="label", labels=("1.0", "true")))
    assert (older.labels, older.describe()) == (["1.0", "true"], None)
    sets = match_labels(["a|b", "a|x", "[]"], Target(name="label", problem="multilabel", labels=("a", "b")))
    assert (sets.rows, dict(sets.unknown)) == ([True, False, True], {"x": 1})
    assert match_labels(["1.5", None], Target(name="label", problem="regression")).rows == [True, False]


def test_numbers_of_their_own_are_told_also_with_a_comma(tmp_path: Path, run_ingest: Any) -> None:
    path = tmp_path / "m.csv"
    path.write_text("text;label\n" + "".join(f"a text of row {n};{n},5\n" for n in range(24)))
    assert any("every row has another number" in note for note in run_ingest(path).clean.notes)
