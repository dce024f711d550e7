"""One class, one spelling: numbers and truth values that are written in several ways, decided for a whole column."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from tasks.problems.cells import plain

_WHOLE = re.compile(r"([-+]?(?:0|[1-9]\d*))\.0+")
"""A whole number as pandas writes it where a cell of its column was once empty."""
_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d*)")
_TRUTH = frozenset(("true", "false"))
_MARKS = frozenset({"-", "--", "?", ".", "n/a", "#n/a", "nan", "<na>", "null", "nil"})
"""What tools and people write for want of a label, in lower case. NA may be Namibia, and none or unknown a class."""
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""Soft hyphens, marks of direction and the like, which spreadsheets and web pages leave around words."""
_YES = frozenset(("1", "yes", "y", "true", "t", "wahr", "vrai", "on", "ja", "j", "oui", "si", "sí", "sim", "да"))
_NO = frozenset(("0", "no", "n", "false", "f", "falsch", "faux", "off", "nein", "non", "não", "нет"))
_SHOWN = 3


def same_class(label: str) -> str:
    """The spelling in which labels are compared: 1.0 is 1, TRUE is true, anything else is itself, without invisible
    characters around it.
    """
    label = label.strip(_INVISIBLE)
    if whole := _WHOLE.fullmatch(label):
        return whole[1]
    return label.lower() if label.lower() in _TRUTH else label


def unify_spelling(labels: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Label to the one spelling of its class, for those that change, with notes.

    `1.0` becomes `1` where all labels are whole numbers, or `1` is there, too; `True` becomes `true` where all are truth
    values, or `true` is there, too. Invisible characters around a label do not count where it is there without them; a label
    of nothing else is none. Labels that differ in case, or in leading zeros, only stay apart, and are noted.
    """
    blank = {label: " " for label in labels if not same_class(label)}
    known = set(labels) - blank.keys()
    changed = {label: same_class(label) for label in known if same_class(label) != label}
    numbers = all(_WHOLE.fullmatch(label) or _INTEGER.fullmatch(label) for label in known)
    truths = all(label.lower() in _TRUTH for label in known)
    classes: dict[str, list[str]] = defaultdict(list)
    for label in sorted(known):
        classes[same_class(label)].append(label)
    if not (numbers or truths):
        changed = {label: one for label, one in changed.items() if len(classes[one]) > 1}
    notes = []
    if changed:
        shown = ", ".join(f"{label!r} is {one!r}" for label, one in sorted(changed.items())[:_SHOWN])
        notes.append(f"labels in several spellings are one class: {shown}{' …' if len(changed) > _SHOWN else ''}")
    marks = sorted(label for label in known if label.strip().lower() in _MARKS and len(known) > 1)
    if marks:
        shown = ", ".join(map(repr, marks))
        notes.append(
            f"{shown} may say that there is no label, and is a class here: empty those cells to leave their rows out"
        )
    kept = {changed.get(label, label) for label in known}
    notes += ["labels of invisible characters only are empty"] if blank else []
    return changed | blank, [*notes, *_similar(kept)]


def _similar(labels: Iterable[str]) -> list[str]:
    """Notes on labels that differ in case only, and on numbers that differ in leading zeros only."""
    known = sorted(labels)
    padded = [label for label in known if label.isascii() and label.isdigit()]
    return [
        *_apart(known, str.casefold, "upper and lower case"),
        *_apart(padded, lambda label: label.lstrip("0") or "0", "leading zeros"),
        *_apart(known, html.unescape, "entities of HTML"),
        *_truths(known),
    ]


def _truths(labels: Sequence[str]) -> list[str]:
    """A note where yes and no are said in several words each, as tables of several tools are put together."""
    yes, no = ([label for label in labels if label.casefold() in words] for words in (_YES, _NO))
    if min(len({label.casefold() for label in said}) for said in (yes, no)) < 2:
        return []
    shown = " and ".join(", ".join(map(repr, said)) for said in (yes, no))
    return [f"labels that say yes or no in several words are classes of their own: {shown}"]


def _apart(labels: Sequence[str], form: Callable[[str], str], what: str) -> list[str]:
    """A note on labels that have the same form."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        alike[form(label)].append(label)
    pairs = [" and ".join(map(repr, spelt)) for spelt in alike.values() if len(spelt) > 1]
    if not pairs:
        return []
    more = " …" if len(pairs) > _SHOWN else ""
    return [f"labels that differ in {what} only are classes of their own: {', '.join(pairs[:_SHOWN])}{more}"]


def composed(labels: Iterable[str]) -> list[str]:
    """A note on labels that are spelt with other characters for the same letters (NFD): they are one class."""
    pairs = {
        label: one for label in labels if not label.isascii() and (one := unicodedata.normalize("NFC", label)) != label
    }
    if not pairs:
        return []
    label, one = min(pairs.items())
    return [f"{len(pairs)} labels are spelt with combining characters and are one class with {one!a}: {label!a}"]


def label_text(cell: object) -> str | None:
    """A label cell as text; None for an empty one, and for what is no label."""
    return None if isinstance(cell, list | dict | bytes) else plain(cell)
