"""What a model answers on the test rows, over the labels that candidate, champion and data know together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.metrics import Indices
from tasks.modeling.decision import decide

Probabilities = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Answers:
    """One model's output on some rows."""

    probabilities: Probabilities
    """(N, C)"""
    predicted: Indices
    """(N,)"""

    def take(self, rows: Indices) -> Answers:
        """Those of some rows."""
        return Answers(self.probabilities[rows], self.predicted[rows])


def answers_of(
    probabilities: Probabilities, own: tuple[str, ...], offsets: Sequence[float] | None, labels: tuple[str, ...]
) -> Answers:
    """Decided over the model's own labels, as it decides when it serves, then moved to `labels`."""
    positions = {label: index for index, label in enumerate(labels)}
    moved = np.array([positions[label] for label in own], np.int64)
    return Answers(align(probabilities, own, labels), moved[decide(probabilities, offsets)])


def align(probabilities: Probabilities, own: tuple[str, ...], labels: tuple[str, ...]) -> Probabilities:
    """Columns moved from a model's own label order to `labels`; a label that the model does not know gets 0."""
    if own == labels:
        return probabilities
    positions = {label: index for index, label in enumerate(labels)}
    aligned = np.zeros((len(probabilities), len(labels)), dtype=probabilities.dtype)
    aligned[:, [positions[label] for label in own]] = probabilities
    return aligned
