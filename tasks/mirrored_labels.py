"""Labels that a mirror image of a picture may change. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from data_contracts.refs import Target
from tasks.config import TrainConfig
from tasks.progress import note

_SIDES = frozenset(
    {"left", "right", "leftward", "rightward", "leftwards", "rightwards", "lefthand", "righthand", "clockwise"}
    | {
        "counterclockwise",
        "anticlockwise",
        "east",
        "west",
        "links",
        "rechts",
        "gauche",
        "droite",
        "izquierda",
        "derecha",
    }
)
"""Words of labels that a mirror image turns into each other."""


def why_not_mirrored(targets: Sequence[Target], train: TrainConfig) -> str | None:
    """Why a mirror image may have another label than its picture, as a clause; None where nothing says so.

    train.horizontal_flip says that it has the same, whatever labels are called.
    """
    if train.horizontal_flip:
        return None
    for target in targets:
        for label in target.labels:
            words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label))
            if not _SIDES.isdisjoint(word.casefold() for word in words):
                return note(f"the label {label!r} names a side, which a mirror image turns")
        signs = [label for label in target.labels if label.isdigit() or len(label) == 1]
        if signs and len(signs) == len(target.labels):
            return note(
                f"the labels {', '.join(map(repr, signs[:3]))} and so on may be digits or letters, which a mirror turns"
            )
    return None
