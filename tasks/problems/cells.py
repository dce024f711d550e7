"""What stands in a cell of a manifest, as text: nothing, a name, or why it cannot be used. Pure functions."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

LABEL_CHARS = 200
Fault = tuple[str, str]
"""The reason code, and what is wrong with the cell."""
Cell = tuple[str | None, Fault | None]
"""The text of a cell, or None and why it cannot be used."""


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or (isinstance(cell, str) and cell == "") or (isinstance(cell, float) and math.isnan(cell))


def plain(value: Any) -> str | None:
    """A cell as a string: 7, 7.0 and "7" are all "7"; white space around it does not count."""
    if is_empty(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return storable(" ".join(str(value).split())) or None


def storable(text: str) -> str:
    """The text, with what is no character (from a file name that is not UTF-8) written as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_name(cell: Any) -> Cell:
    """The name of a class or a label, in one Unicode form."""
    label = plain(cell) or ""
    if len(label) > LABEL_CHARS or "\x00" in label:
        return None, ("bad-label", f"{len(label)} characters; at most {LABEL_CHARS}, and no NUL")
    return unicodedata.normalize("NFC", label), None


def find_unseen(name: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each of val and test whose labels are not all in train; `rows` are (label, split)."""
    pairs = list(rows)
    learned = {label for label, split in pairs if split == "train"}
    problems = []
    for split in ("val", "test"):
        unseen = sorted({label for label, side in pairs if side == split} - learned)
        if unseen and learned:
            problems.append(
                f"{name}: {split} holds {list_names(unseen)}, never seen in train; move some samples to train"
            )
    return problems


def list_names(labels: list[str], most: int = 5) -> str:
    """`class 'a'`, `classes 'a', 'b' and 3 more`."""
    named = ", ".join(repr(label) for label in labels[:most])
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return f"class{'es' if len(labels) > 1 else ''} {named}{more}"
