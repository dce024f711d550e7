"""Cells as text, as numbers, and as what the encoder reads; and which columns hold which."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from tasks.media.canonical import Undecodable
from tasks.modality_specs.tabular.cells import (
    NotACell,
    category_key,
    cell_text,
    column_key,
    encode_row,
    parse_number,
    read_row,
    row_text,
)
from tasks.modality_specs.tabular.column_types import decide_types
from tasks.modality_specs.tabular.media import decode_row


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (7, "7"), (7.0, "7"), ("7", "7"), ("7.0", "7"), (" 7.00 ", "7"), (np.int64(7), "7"), (np.float64(7), "7"),
        (Decimal("7.0"), "7"), (0.1, "0.1"), ("0.10", "0.10"), ("-3.0", "-3"), (1e20, "1e+20"), ("007", "007"),
        (True, "true"), ("TRUE", "true"), (np.bool_(False), "false"), ("  two  words ", "two words"),
        (datetime.date(2024, 5, 1), "2024-05-01"), (math.inf, "inf"),
        (None, None), (math.nan, None), ("", None), ("  ", None), (np.float64("nan"), None),
    ],
)  # fmt: skip
def test_a_cell_is_one_text_however_a_file_holds_it(cell: Any, text: str | None) -> None:
    assert cell_text(cell) == text


@pytest.mark.parametrize("cell", [b"x", ["a"], {"a": 1}, object()])
def test_what_is_no_cell_is_refused_with_its_column(cell: Any) -> None:
    with pytest.raises(NotACell, match=r"column 'fee' holds \w+; expected a number"):
        row_text({"age": 3, "fee": cell})


def test_a_row_is_its_filled_cells_in_one_order() -> None:
    text = row_text({"b": "x", "a": 3.0, "empty": None})
    assert text == '{"a":"3","b":"x"}' == row_text({"a": "3", "b": "x"})
    assert read_row(str(text)) == {"a": "3", "b": "x"}
    assert row_text({"a": None, "b": ""}) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"a":3}', b"\xff", b'{"a":', b"[" * 5000])
def test_what_is_no_row_is_not_decoded(data: bytes) -> None:
    with pytest.raises(Undecodable, match="unreadable-row"):
        decode_row(data, {})


def test_equal_rows_have_equal_digests() -> None:
    one, other = decode_row(b'{"b":"x","a":"3"}', {}), decode_row(b'{"a":"3", "b":"x"}', {})
    assert one.digest == other.digest
    assert one.shape == (2,)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7), ("-7.5", -7.5), ("+.5", 0.5), ("3.", 3), ("1e3", 1000), ("1E-2", 0.01), ("1,5", 1.5), ("-0,25", -0.25),
        ("1_000", None), ("0x10", None), ("nan", None), ("inf", None), ("1,000,000", None), ("1 000", None), ("", None),
        ("1e400", None), ("3e38", None), ("٣", None),
    ],
)  # fmt: skip
def test_a_text_is_a_number_or_not(text: str, number: float | None) -> None:
    assert parse_number(text) == number


def test_a_row_as_whole_numbers_depends_on_the_row_alone() -> None:
    encoded = encode_row({"breed": "tabby", "age": "2.5"})
    assert (encoded.dtype, encoded.shape) == (np.int32, (2, 4))
    assert encoded[0, 0] == column_key("age")
    assert encoded[0, 1:2].view(np.float32) == 2.5
    assert np.isnan(encoded[1, 1:2].view(np.float32))
    assert (int(encoded[1, 2]) << 32) | (int(encoded[1, 3]) & 0xFFFFFFFF) == category_key("breed", "tabby")
    assert category_key("breed", "tabby") != category_key("breed", "poodle") != category_key("colour", "poodle")
    assert 0 < column_key("age") < 2**31


def types_of(column: list[str | None], **fixed: Any) -> tuple[str, list[str]]:
    rows = [{} if text is None else {"x": text} for text in column]
    types, notes = decide_types(rows, ["x"], fixed)
    return types["x"], notes


@pytest.mark.parametrize(
    ("column", "kind", "note"),
    [
        (["1", "2.5", "-3e2"], "numeric", None),
        (["1", None, "2"], "numeric", None),
        (["1", "NA", "?", "inf"], "numeric", "3 cells are no finite number"),
        (["1,5", "2", "0,25"], "numeric", "2 cells have a decimal comma ('1,5')"),
        (["1,500", "2,250"], "categorical", "'1,500' may be two numbers"),
        (["1,5", "2.5"], "categorical", "'1,5' may be two numbers"),
        (["00123", "10001"], "categorical", "'00123' begins with a zero"),
        (["1", "2", "3", "four"], "categorical", "1 of 4 filled cells are no numbers ('four')"),
        (["true", "false"], "categorical", None),
        (["a", "b", "1"], "categorical", None),
        (["2024-05-01", "2023-01-31"], "categorical", "holds dates"),
        (["2024-05-01T10:00:00", None], "categorical", "holds dates"),
        ([None, None], "categorical", "is empty in every row"),
        (["NA", "NA"], "categorical", None),
    ],
)  # fmt: skip
def test_a_column_is_of_numbers_or_of_categories(column: list[str | None], kind: str, note: str | None) -> None:
    found, notes = types_of(column)
    assert found == kind
    if note is None:
        assert notes == []
    else:
        (output,) = notes
        assert output.startswith("tabular column 'x': ")
        assert note in output


def test_a_type_that_the_config_names_stands_without_a_note() -> None:
    assert types_of(["1", "2"], x="categorical") == ("categorical", [])
    assert types_of(["1", "2", "four"], x="numeric") == ("numeric", [])
