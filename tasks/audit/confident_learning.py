"""Label errors from probabilities that each row's own label did not shape: confident learning.

Northcutt, Jiang and Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70; in their terms.
tests/support/compare_with_cleanlab.py holds these figures against those of the authors' own library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Indices = NDArray[np.int64]
_EQUAL = 1e-6
"""Probabilities that differ by less are equal: a threshold is a mean of them."""


@dataclass(frozen=True)
class ConfidentLearning:
    """What probabilities (N, C) out of fold say of the given labels (N,)."""

    thresholds: Floats
    """(C,) mean probability of a class among the rows that are given it: what is confident for this class."""
    joint: NDArray[np.int64]
    """(C, C) rows that are confidently of some class: given label by that class."""
    flagged: NDArray[np.bool_]
    """(N,) off the diagonal of the joint, and another class is the most likely one."""
    suggested: Indices
    """(N,) the most likely class."""

    @property
    def noise(self) -> Floats:
        """(C,) estimated share of the rows given each class that are truly of another; 0 where no row is confident."""
        rows = self.joint.sum(axis=1)
        return np.where(rows > 0, 1 - np.diagonal(self.joint) / np.maximum(rows, 1), 0.0)

    def total_noise(self, given: Indices) -> float:
        """The estimated share of wrong labels: `noise` weighted by how often each class is given (the calibrated joint)."""
        counts = np.bincount(given, minlength=len(self.joint))
        return float((self.noise * counts).sum() / max(counts.sum(), 1))


def learn(probabilities: Floats, given: Indices) -> ConfidentLearning:
    """The rows whose label is likely wrong. A class that no row is given has threshold 1."""
    thresholds = class_thresholds(probabilities, given)
    confident = probabilities >= thresholds - _EQUAL
    likely = probabilities.argmax(axis=1)
    # One confident class is taken for the true one; of several, the most likely.
    true = np.where(confident.sum(axis=1) == 1, confident.argmax(axis=1), likely)
    sure = confident.any(axis=1)
    joint = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(joint, (given[sure], true[sure]), 1)
    return ConfidentLearning(thresholds, joint, sure & (true != given) & (likely != given), likely)


def class_thresholds(probabilities: Floats, given: Indices) -> Floats:
    """(C,) the mean probability of each class among the rows that are given it (their equation 2); 1 where there are none."""
    counts = np.bincount(given, minlength=probabilities.shape[1])
    sums = np.bincount(given, self_confidence(probabilities, given), probabilities.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)


def self_confidence(probabilities: Floats, given: Indices) -> Floats:
    """(N,) the probability of the given label."""
    return np.asarray(probabilities[np.arange(len(given)), given], np.float64)


def margin(probabilities: Floats, given: Indices) -> Floats:
    """(N,) the probability of the given label minus that of the most likely other one: -1 (surely wrong) to 1."""
    others = probabilities.astype(np.float64)
    others[np.arange(len(given)), given] = -np.inf
    return np.asarray(self_confidence(probabilities, given) - others.max(axis=1), np.float64)
