"""Which columns hold numbers and which categories: decided on all rows of a manifest, so that it depends on no split."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_contracts.refs import ColumnType
from tasks.modality_specs.tabular.cells import DECIMAL_COMMA, Cells, is_missing_mark, parse_number

_CODE = re.compile(r"0\d+", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3},\d{3}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?", re.ASCII)
_DOUBTFUL = 0.5
"""A column of categories of which more than this share are numbers is pointed out."""


def decide_types(
    rows: Sequence[Cells], columns: Sequence[str], fixed: dict[str, ColumnType]
) -> tuple[dict[str, ColumnType], list[str]]:
    """Every column's type, and what a person should know about how it was decided.

    A column is numeric where every filled cell is a number, or stands for none (`NA`, `?`, an infinity). One cell that is
    not makes it categorical. Leading zeros (a postcode) make it categorical, too. `fixed` are the types that the config names.
    """
    types: dict[str, ColumnType] = {}
    notes: list[str] = []
    for column in columns:
        filled = [row[column] for row in rows if column in row]
        numeric, note = _detect_type(filled)
        types[column] = fixed.get(column) or ("numeric" if numeric else "categorical")
        if not filled:
            notes.append(f"tabular column {column!r}: is empty in every row")
        elif note and column not in fixed:
            notes.append(f"tabular column {column!r}: {note}")
    return types, notes


def _detect_type(filled: Sequence[str]) -> tuple[bool, str | None]:
    """Whether these cells are numbers, and what is doubtful about that."""
    others = [text for text in filled if parse_number(text) is None and not is_missing_mark(text)]
    numbers = [text for text in filled if parse_number(text) is not None]
    marks = len(filled) - len(numbers) - len(others)
    if others:
        return False, _why_categories(others, len(numbers), len(filled))
    if not numbers:
        return False, None
    codes = [text for text in numbers if _CODE.fullmatch(text)]
    if codes:
        return (
            False,
            f"is categorical, as {codes[0]!r} begins with a zero: a code; add :numeric to its name for numbers",
        )
    commas = [text for text in numbers if DECIMAL_COMMA.fullmatch(text)]
    if commas and (any("." in text for text in numbers) or all(_GROUPED.fullmatch(text) for text in commas)):
        return (
            False,
            f"is categorical, as {commas[0]!r} may be two numbers; write a point before decimals, and no comma",
        )
    doubts = [f"{len(commas)} cells have a decimal comma ({commas[0]!r})"] if commas else []
    doubts += [f"{marks} cells are no finite number (NA, ?, inf) and count as missing"] if marks else []
    return True, "; ".join(doubts) or None


def _why_categories(others: Sequence[str], numbers: int, filled: int) -> str | None:
    """What to say of a column whose cells are not all numbers: that dates are no good categories, that few cells are odd."""
    if all(_DATE.fullmatch(text) for text in others):
        return "holds dates, which are read as categories; derive numbers from them (an age in days, a month)"
    if numbers > _DOUBTFUL * filled:
        return (
            f"is categorical, as {len(others)} of {filled} filled cells are no numbers ({others[0][:40]!r}); correct them, or "
            "add :numeric to its name so that they count as missing"
        )
    return None
