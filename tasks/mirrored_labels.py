"""Labels that a mirror image of a picture may change. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from data_contracts.refs import Target
from tasks.config import TrainConfig
from tasks.progress import note

_SIDES = frozenset(
    {
        *("clockwise", "counterclockwise", "anticlockwise", "east", "west"),
        *("gauche", "droite", "izquierda", "derecha"),
    }
)
"""Words of labels that a mirror image turns into each other; those with `left` or `right` need no list."""
_PAIRS = (("l", "r"), ("lhs", "rhs"), ("lt", "rt"), ("cw", "ccw"), ("os", "od"), ("links", "rechts"))
"""Words that name sides where a column has both: each by itself is often something else."""
_NOT_A_SIDE = frozenset(
    {
        *(
            "leftover",
            "leftovers",
            "leftist",
            "leftists",
            "cleft",
            "righteous",
            "rightful",
            "rights",
            "bright",
            "upright",
        ),
        *(
            "copyright",
            "copyrights",
            "downright",
            "forthright",
            "fright",
            "outright",
            "playwright",
            "wright",
            "wheelwright",
        ),
        *("cartwright", "birthright", "aright", "alright"),
    }
)
"""Words that begin or end with `left` or `right`, and mean neither."""
_NUMBERS = frozenset({"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"})


def why_not_mirrored(targets: Sequence[Target], train: TrainConfig) -> str | None:
    """Why a mirror image may have another label than its picture, as a clause; None where nothing says so.

    train.horizontal_flip says that it has the same, whatever labels are called.
    """
    if train.horizontal_flip:
        return None
    for target in targets:
        side = _side_among(target.labels)
        if side is not None:
            return note(f"the label {side!r} names a side, which a mirror image turns")
        signs = [label for label in target.labels if _is_sign(label)]
        if 2 * len(signs) > len(target.labels):
            return note(
                f"the labels {', '.join(map(repr, signs[:3]))} and so on may be digits or letters, which a mirror turns"
            )
    return None


def _side_among(labels: Iterable[str]) -> str | None:
    """The first label with a word for a side, or with one of two that are a pair."""
    found: dict[str, str] = {}
    for label in labels:
        for word in re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label)):
            found.setdefault(word.casefold(), label)
    paired = {word for pair in _PAIRS if found.keys() >= set(pair) for word in pair}
    return next((label for word, label in found.items() if word in paired or _names_side(word)), None)


def _names_side(word: str) -> bool:
    ends = word.startswith(("left", "right")) or word.endswith(("left", "right"))
    return word in _SIDES or (ends and word not in _NOT_A_SIDE)


def _is_sign(label: str) -> bool:
    """A digit, a letter, a number in digits, or a digit as a word."""
    return len(label) == 1 or label.isdigit() or label.casefold() in _NUMBERS
