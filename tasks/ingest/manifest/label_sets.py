"""Sets of labels as they are written: which separator divides the cells of a column, and lists as pandas prints them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

SEPARATORS = ("|", ",", ";", " ")
"""What `auto` tries, in this order; a space stands for any white space."""
_ITEM = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s,'"\[\](){}]+))\s*(,?)""", re.DOTALL)
_CLOSING = {"[": "]", "(": ")", "{": "}"}


def find_separator(cells: Sequence[str]) -> str | None:
    """The separator at which the cells divide into labels that recur; None where none does.

    A bar always divides. For the others at least half of all parts must be of labels that stand in several rows, and there
    must be fewer labels than different cells; at white space every label must recur.
    """
    plain = Counter(cell for cell in cells if not cell.startswith("["))
    if any("|" in cell for cell in plain):
        return "|"
    for separator in SEPARATORS[1:]:
        sets = [(set(divide(cell, separator)), rows) for cell, rows in plain.items()]
        counts: Counter[str] = Counter()
        for labels, rows in sets:
            counts.update(dict.fromkeys(labels, rows))
        if len(counts) >= len(plain) or not any(len(labels) > 1 for labels, _ in sets):
            continue
        if separator == " " and not all(any(map(str.isalnum, label)) for label in counts):  # red / round: another mark
            continue
        recurring = sum(count for count in counts.values() if count > 1)
        needed = 1.0 if separator == " " else 0.5
        if recurring >= needed * sum(counts.values()):
            return separator
    return None


def likely_separators(cells: Sequence[str]) -> list[str]:
    """Of the separators, those that stand in cells at all, the commonest first."""
    counts = Counter({mark: sum(mark in cell for cell in cells) for mark in (*SEPARATORS[1:], "/", "+", "&")})
    return [mark for mark, count in counts.most_common() if count]


def divide(cell: str, separator: str) -> list[str]:
    """The labels of a cell, without outer spaces and empty ones."""
    parts = cell.split() if separator.isspace() else cell.split(separator)
    return [part.strip() for part in parts if part.strip()]


def read_list(text: str) -> list[str] | None:
    """The items of a list that is written out: as JSON, or as Python prints a list, a tuple, a set or an array of texts.

    None for anything else. Nothing is evaluated.
    """
    text = text.strip()
    try:
        found = json.loads(text)
        return found if isinstance(found, list) else None
    except (ValueError, RecursionError):
        pass
    if len(text) < 2 or _CLOSING.get(text[0]) != text[-1]:
        return None
    items, place, inner = [], 0, text[1:-1]
    while place < len(inner) and inner[place:].strip():
        found_item = _ITEM.match(inner, place)
        if found_item is None:
            return None
        quoted = found_item[1] if found_item[1] is not None else found_item[2]
        items.append(found_item[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
        place = found_item.end()
    return items
