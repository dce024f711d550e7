"""How the figures of label sets vary, from probabilities (N, L), true and answered labels (N, L). Pure numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.problems.class_estimates import MIN_PROBABILITY
from tasks.problems.intervals import mean_estimate, tail_freedom
from tasks.problems.metric import Estimate, Floats, Probabilities
from tasks.problems.table_estimates import Counted, Effects, Table, estimate_counts, estimate_from

MIN_POSITIVES = 10
"""Rows that have a label, for an interval of its average precision: of fewer it is too high by a point or more."""


class Labelled(Counted, Protocol):
    """What estimates read of a scorer of label sets."""

    @property
    def truth(self) -> NDArray[np.bool_]:
        """(N, L)"""

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """(N, L)"""


def counted(effects: Callable[[Table], Effects]) -> Callable[[Labelled], Estimate]:
    """The estimate of a figure that is computed from counts by label."""
    return estimate_counts(effects, _influence)


def _influence(scored: Labelled, found: Effects) -> Floats:
    """Each row adds to the counts of all its labels."""
    hits = (scored.truth & scored.predicted) @ found.hits
    return np.asarray(scored.truth @ found.support + scored.predicted @ found.answers + hits, np.float64)


def pooled(effects: Callable[[Table], Effects]) -> Callable[[Labelled], Estimate]:
    """The same of counts over all labels together."""

    def estimate(scored: Labelled) -> Estimate:
        """As if there were one label, which a row may have several times."""
        by_label = scored.table
        counts = (np.array([each.sum()]) for each in (by_label.hits, by_label.support, by_label.answers))
        members = (scored.truth & scored.predicted, scored.truth, scored.predicted)
        hits, support, answers = (each.sum(axis=1).astype(np.float64) for each in members)

        def influence(found: Effects) -> Floats:
            """(N,)"""
            return np.asarray(
                support * found.support[0] + answers * found.answers[0] + hits * found.hits[0], np.float64
            )

        return estimate_from(effects, Table(scored.rows, *counts), influence)

    return estimate


def brier(scored: Labelled) -> Estimate:
    """The mean over labels of each one's Brier score over its two classes, there and absent: 0 to 2 (Brier 1950)."""
    return mean_estimate(2 * np.square(scored.probabilities - scored.truth).mean(axis=1))


def log_loss(scored: Labelled) -> Estimate:
    """The mean over labels of the binary cross-entropy."""
    of_truth = np.where(scored.truth, scored.probabilities, 1 - scored.probabilities)
    return mean_estimate(-np.log(np.maximum(of_truth, MIN_PROBABILITY)).mean(axis=1))


def mean_precision(scored: Labelled) -> Estimate | None:
    """Mean average precision over the labels that some rows have; None where no row has any.

    The variance of each label is drawn by one of its rows towards that of a share: a perfect order does not seem to vary.
    """
    labels = np.flatnonzero(scored.truth.any(axis=0))
    if not len(labels):
        return None
    rows, count = scored.rows, len(labels)
    influence, lacking, total, bias = np.zeros(rows), 0.0, 0.0, 0.0
    for label in labels:
        value, each, above = precision_influence(scored.probabilities[:, label], scored.truth[:, label])
        positives = int(scored.truth[:, label].sum())
        spread = float(np.square(each).sum()) / rows**2 * positives
        near = min(value, 1 - 1 / (2 * rows))
        lacking += max(near * (1 - near) - spread, 0.0) / positives / (positives + 1)
        influence += each / count
        total += value / count
        bias += above / count
    variance = float(np.square(influence).sum()) / rows / max(rows - 1, 1) + lacking / count**2
    enough = int(scored.truth[:, labels].sum(axis=0).min()) >= MIN_POSITIVES
    return Estimate(total, influence, variance, bias=bias, freedom=tail_freedom(influence), enough=enough)


def precision_influence(scores: Probabilities, truth: NDArray[np.bool_]) -> tuple[float, Floats, float]:
    """The average precision of one label, each row's influence on it (N,), and by how much it is too high on average.

    A row changes its own precision, if it has the label, and the precision at every threshold from its score downwards. At a
    threshold with k rows one of them is the row itself, which has the label, so the precision there is too high; half of that
    is made up for by positives that are missing further up (found by simulation: benchmarks/coverage.py).
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(scores[order]) != 0))  # equal scores are one threshold
    place = np.empty(len(order), np.int64)
    place[order] = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    seen = np.cumsum(np.bincount(place)).astype(np.float64)
    there = np.bincount(place, truth)
    precision = np.cumsum(there) / seen
    value = float(there @ precision / there.sum())
    gained = np.cumsum((there / seen)[::-1])[::-1]
    spread = np.cumsum((there * precision / seen)[::-1])[::-1]
    change = truth * (precision[place] - value + gained[place]) - spread[place]
    return value, change * len(truth) / there.sum(), float(there @ ((1 - precision) / seen) / there.sum() / 2)
