"""What stands in a cell: nothing, a text, a label, a set of labels, or a number. Pure functions."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any

from data_contracts.refs import Problem
from tasks.ingest.manifest.rows import Inline
from tasks.labels import SEPARATOR, join_labels
from tasks.number_format import number_text

LABEL_CHARS = 200
Problems = tuple[str, str] | None
"""The reason and detail of why a cell cannot be used."""


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


def read_label(cell: Any, column: str, problem: Problem = "multiclass") -> tuple[str | None, Problems]:
    """The text of a label cell (tasks.labels says what it means), or None and why it cannot be used."""
    if isinstance(cell, (dict, bytes, Inline)) or (isinstance(cell, list) and problem != "multilabel"):
        what = "bytes" if isinstance(cell, Inline) else type(cell).__name__
        return None, ("bad-label", f"column {column!r} holds {what}; expected a string or a number")
    if not isinstance(cell, list) and plain(cell) is None:
        return None, ("missing-label", f"column {column!r} is empty")
    if problem == "multilabel":
        return _read_set(cell, column)
    if problem == "regression":
        return _read_number(cell, column)
    return _read_name(cell)


def _read_name(cell: Any) -> tuple[str | None, Problems]:
    label = plain(cell) or ""
    if len(label) > LABEL_CHARS or "\x00" in label:
        return None, ("bad-label", f"{len(label)} characters; at most {LABEL_CHARS}, and no NUL")
    return unicodedata.normalize("NFC", label), None


def _read_set(cell: Any, column: str) -> tuple[str | None, Problems]:
    """Of a list, a JSON list, or a text with labels separated by `|`; an empty list says that there are none."""
    text = None if isinstance(cell, list) else str(plain(cell))
    if text is None or text.startswith("["):
        items = cell if text is None else _json_list(text)
        if items is None:
            return None, ("bad-label", f"column {column!r}: {str(text)[:50]!r} is not a JSON list")
        if any(isinstance(item, (list, dict, bytes)) or plain(item) is None for item in items):
            return None, ("bad-label", f"column {column!r}: the list holds what is no label, or an empty one")
    else:
        items = [part for part in text.split(SEPARATOR) if part.strip()]
        if not items:
            return None, ("bad-label", f"column {column!r}: {text[:50]!r} names no label; [] says that there is none")
    labels = []
    for item in items:
        label, problem = _read_name(item)
        if label is None:
            return None, problem
        if SEPARATOR in label or label.startswith("["):
            return None, ("bad-label", f"{label[:50]!r}: a label may not hold {SEPARATOR!r} or begin with '['")
        labels.append(label)
    return join_labels(labels), None


def _json_list(text: str) -> list[Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # the second of "[" a thousand times
        return None
    return found if isinstance(found, list) else None


def _read_number(cell: Any, column: str) -> tuple[str | None, Problems]:
    wrong = None, ("bad-label", f"column {column!r}: {str(cell)[:50]!r} is not a finite number")
    if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):  # Python reads 1_000 as a number
        return wrong
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return wrong
    return (number_text(number), None) if math.isfinite(number) else wrong
