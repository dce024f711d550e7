"""The one place where probabilities become an answer: evaluation, prediction and the served model decide alike.

By default the most probable class is the answer. A model whose thresholds were tuned carries in model.json one offset per
class, added to its log-probability before the classes are compared; the probabilities themselves stay as they are.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError

DECISION, OFFSETS = "decision", "offsets"


def read_offsets(card: Mapping[str, Any]) -> tuple[float, ...] | None:
    """The offsets (C,) of a model's card, None where it has none; DataError where they do not fit its labels."""
    if DECISION not in card:
        return None
    given = card[DECISION].get(OFFSETS) if isinstance(card[DECISION], dict) else None
    if (
        not isinstance(given, list)
        or len(given) != len(card["labels"])
        or not all(isinstance(value, int | float) and np.isfinite(value) for value in given)
    ):
        raise DataError(f"model.json: {DECISION}.{OFFSETS} is not one number for each label; train again")
    return tuple(float(value) for value in given)


def decide(probabilities: NDArray[np.floating[Any]], offsets: Sequence[float] | None = None) -> NDArray[np.int64]:
    """(N, C) probabilities to (N,) answers: the greatest log-probability plus offset, the first of equals.

    What is not a number counts as 0. A class of probability 0 is no answer, whatever its offset.
    """
    given = np.nan_to_num(probabilities)
    if offsets is None:
        return np.asarray(given.argmax(axis=1), np.int64)
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(given.astype(np.float64)) + np.asarray(offsets)).argmax(axis=1), np.int64)


def decide_labels(
    probabilities: NDArray[np.floating[Any]], thresholds: Sequence[float] | None = None
) -> NDArray[np.bool_]:
    """(N, L) probabilities of labels that exclude nothing to (N, L): which are given, those from 0.5 or their threshold on."""
    limits = np.full(probabilities.shape[1], 0.5) if thresholds is None else np.asarray(thresholds)
    return np.asarray(np.nan_to_num(probabilities) >= limits)
