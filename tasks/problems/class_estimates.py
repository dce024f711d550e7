"""How the figures of one class a row vary, from probabilities (N, C), true classes (N,) and answers (N,). Pure numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.problems.intervals import MIN_ROWS, mean_estimate, tail_freedom
from tasks.problems.metric import Estimate, Floats, Indices, Probabilities
from tasks.problems.table_estimates import Counted, Effects, Table, estimate_counts

MAX_BINS = 15
BIN_ROWS = 5
"""Rows of a bin of the calibration error: fewer bins of few rows, as the noise of a gap is measured within its bin."""
MIN_PROBABILITY = float(np.finfo(np.float32).eps)
"""Of the true class, in the logarithm: as scikit-learn does with float32."""


class Classified(Counted, Protocol):
    """What estimates read of a scorer of one class a row."""

    @property
    def truth(self) -> Indices:
        """(N,)"""

    @property
    def predicted(self) -> Indices:
        """(N,)"""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,)"""

    @property
    def confidence(self) -> Floats:
        """(N,) of the answer."""

    @property
    def classes(self) -> int:
        """C."""


def counted(effects: Callable[[Table], Effects]) -> Callable[[Classified], Estimate]:
    """The estimate of a figure that is computed from counts by class."""
    return estimate_counts(effects, _influence)


def _influence(scored: Classified, found: Effects) -> Floats:
    """Each row adds to the support of its class, the answers with its answer, and the hits where they agree."""
    hit = np.where(scored.correct, found.hits[scored.truth], 0.0)
    return found.support[scored.truth] + found.answers[scored.predicted] + hit


def log_loss(scored: Classified) -> Estimate:
    """The mean of -log of the true class's probability: the negative log-likelihood, as scikit-learn's log_loss."""
    return _mean_loss(scored, -np.log(np.maximum(_of_truth(scored), MIN_PROBABILITY)))


def brier(scored: Classified) -> Estimate:
    """The mean squared distance of the probabilities from the truth, summed over all classes: 0 to 2 (Brier 1950)."""
    squares = np.square(scored.probabilities, dtype=np.float64).sum(axis=1)
    return _mean_loss(scored, squares - 2 * _of_truth(scored) + 1)


def calibration_error(scored: Classified) -> Estimate:
    """The root mean square gap between confidence and accuracy (the l2 form of the expected calibration error), over bins of
    equally many rows; what chance adds to the square is taken off (Kumar, Liang & Ma 2019; Brocker 2012).

    Of a calibrated model on few rows, the mean absolute gap in bins of equal width is 4 to 9 points.
    """
    gaps = scored.correct - scored.confidence
    bins = equal_bins(scored.confidence)
    sizes = np.bincount(bins)
    mean = np.bincount(bins, gaps) / sizes
    apart = gaps - mean[bins]
    # With one more row a bin, as unsure as the model says it is: a bin that is all right does not seem certain.
    claimed = np.bincount(bins, scored.confidence) / sizes
    noise = (np.bincount(bins, apart**2) + claimed * (1 - claimed)) / sizes**2
    weights = sizes / scored.rows
    square, chance, spread = (float(weights @ each) for each in (mean**2, noise, weights * noise**2))
    value = np.sqrt(max(square - chance, 0.0))
    floor = max(value, (2 * spread) ** 0.25)  # at 0 the root has no slope
    influence = mean[bins] * apart / floor if floor > 0 else np.zeros(scored.rows)
    freedom = chance**2 / spread if spread > 0 else 1.0
    return Estimate(float(value), influence, chance, freedom=freedom, enough=_are_mixed(scored), square=square)


def equal_bins(values: Floats) -> Indices:
    """(N,) bins from 0 without gaps, as equal in rows as equal values allow, which share a bin."""
    count = min(MAX_BINS, max(len(values) // BIN_ROWS, 1))
    edges = np.sort(values)[[len(values) * place // count for place in range(1, count)]]
    _, found = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)
    return np.asarray(found, np.int64)


def auroc(scored: Classified) -> Estimate | None:
    """The area under the ROC curve, one class against the rest, averaged over the classes with rows on both sides; None where
    there is none.

    Its variance is DeLong's (DeLong, DeLong & Clarke-Pearson 1988; midranks as in Sun & Xu 2014). So that perfect
    ranks do not seem certain, each side has one more row, as far off as rows with exponential scores are (Hanley & McNeil
    1982), and at least a tenth of what values from 0 to 1 with this mean can be.
    """
    truth, rows = scored.truth, scored.rows
    # Two classes have one curve.
    classes = np.unique(truth)[-1:] if scored.classes == 2 else np.unique(truth)
    sides: list[int] = []
    areas: list[float] = []
    influence = np.zeros(rows)
    for index in classes:
        positive = truth == index
        m, n = int(positive.sum()), rows - int(positive.sum())
        if n == 0:
            continue
        scores = scored.probabilities[:, index]
        ranks = midranks(scores)
        above = (ranks[positive] - midranks(scores[positive])) / n  # share of the negatives that each positive beats
        below = 1 - (ranks[~positive] - midranks(scores[~positive])) / m
        area = float(above.mean())
        influence[positive] += (above - area) * rows / m
        influence[~positive] += (below - area) * rows / n
        areas.append(area)
        sides += [m, n]
    if not areas:
        return None
    value, count = float(np.mean(areas)), len(areas)
    influence /= count
    near = min(max(value, 1 - value), 1 - 1 / (2 * rows))
    most = near * (1 - near) / 10
    smoothing = max(near / (2 - near) - near**2, most), max(2 * near**2 / (1 + near) - near**2, most)
    variance = float(np.square(influence).sum()) / rows**2
    for place, size in enumerate(sides):
        variance += smoothing[place % 2] / (size * count) ** 2
    enough = min(sides) >= MIN_ROWS
    return Estimate(value, influence, variance, freedom=tail_freedom(influence), enough=enough)


def midranks(values: Probabilities) -> Floats:
    """1-based ranks; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return np.asarray(((last - counts + 1 + last) / 2)[inverse], dtype=np.float64)


def _are_mixed(scored: Classified) -> bool:
    """Whether there are rows beside the largest class: those of which a model is unsure, or wrong."""
    return scored.rows - int(scored.table.support.max()) >= MIN_ROWS


def _mean_loss(scored: Classified, losses: Floats) -> Estimate:
    return replace(mean_estimate(losses, _are_mixed(scored)), freedom=inf)


def _of_truth(scored: Classified) -> Floats:
    return np.take_along_axis(scored.probabilities, scored.truth[:, None], axis=1)[:, 0].astype(np.float64)
