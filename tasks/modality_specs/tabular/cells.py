"""Cells of a table's row as text, as numbers, and as what the encoder reads. No torch.

The canonical form of a row is a JSON object of its filled cells, column to text, sorted by column. A number, the same number
as text, and one with .0 behind it are one text, so that a CSV file and a Parquet file of one table give equal rows.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

Cells = Mapping[str, str]
"""Column to the text of its cell, filled ones only."""
CELL_CHARS = 500
MISSING_MARKS = frozenset({"na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "--", "unknown"})
"""What stands for nothing in a column of numbers, in lower case; in a column of categories it is one of them."""
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"[+-]?[1-9]\d{0,14}\.0+", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
ENTRY = 4
"""Whole numbers by which a cell is stored: its column, its number, and the two halves of its category."""


class NotACell(ValueError):
    """What no cell of a table holds: bytes, a list, an object."""


def cell_text(cell: Any) -> str | None:
    """The text of a cell, None where it is empty. Raises NotACell."""
    if hasattr(cell, "item") and not isinstance(cell, str):
        cell = cell.item()  # a number of numpy's
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, float | Decimal):
        number = float(cell)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if not isinstance(cell, str | int):
        raise NotACell(type(cell).__name__)
    text = " ".join(str(cell).split())[:CELL_CHARS]
    if text.lower() in ("true", "false"):
        text = text.lower()
    elif _WHOLE.fullmatch(text):  # 7.0 in a CSV file is the 7 of a Parquet file
        text = text.partition(".")[0]
    return text or None


def row_text(cells: Mapping[str, Any]) -> str | None:
    """The canonical form of a row; None where all its cells are empty. Raises NotACell, which names the column."""
    found = {}
    for column, cell in cells.items():
        try:
            text = cell_text(cell)
        except NotACell as error:
            raise NotACell(
                f"column {column!r} holds {error}; expected a number, a text, a truth value or a date"
            ) from None
        if text is not None:
            found[column] = text
    return json.dumps(found, ensure_ascii=False, sort_keys=True, separators=(",", ":")) if found else None


def read_row(text: str) -> dict[str, str]:
    """The filled cells of a canonical form. ValueError where it is none."""
    cells = json.loads(text)
    if not isinstance(cells, dict) or not cells or not all(isinstance(cell, str) for cell in cells.values()):
        raise ValueError("not a JSON object of filled cells")
    return cells


def parse_number(text: str) -> float | None:
    """The number that a text is, with a point or a comma before its decimals; None where it is none, or not finite."""
    if _NUMBER.fullmatch(text):
        number = float(text)
    elif DECIMAL_COMMA.fullmatch(text):
        number = float(text.replace(",", "."))
    else:
        return None
    return number if math.isfinite(number) and abs(number) < 3e38 else None  # what float32 holds


def is_missing_mark(text: str) -> bool:
    """Whether a cell of a column of numbers says that there is none: `NA`, `?`, an infinity."""
    return text.lower() in MISSING_MARKS or INFINITE.fullmatch(text) is not None


def column_key(column: str) -> int:
    """31 bits that stand for a column, never 0."""
    return (_digest(column) & 0x7FFFFFFF) or 1


def category_key(column: str, text: str) -> int:
    """64 bits, signed, that stand for a category of a column."""
    return _digest(f"{column}\x1f{text}")


def encode_row(cells: Cells) -> np.ndarray:
    """int32 (filled cells, 4): the column, the bits of the number as float32 (NaN where it is none), and the category's halves.

    It depends on the row alone, not on what was fitted: a row that is read by two models is encoded once.
    """
    found = np.zeros((len(cells), ENTRY), np.int32)
    for place, (column, text) in enumerate(sorted(cells.items())):
        number = parse_number(text)
        value = np.float32(np.nan if number is None else number)
        high, low = divmod(category_key(column, text), 1 << 32)
        found[place] = column_key(column), value.view(np.int32), high, np.uint32(low).view(np.int32)
    return found


def _digest(text: str) -> int:
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)
