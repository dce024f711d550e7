"""Metrics of label sets, all arrays (N, L). Each is defined on weighted rows: with equal weights for the figure itself, with
those of every resample for its interval. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.problems.label_estimates import brier, counted, log_loss, mean_precision, pooled
from tasks.problems.metric import Baseline, Floats, Indices, Metric
from tasks.problems.scoring import Scorer, macro_mean, ratio, row_weights
from tasks.problems.table_estimates import Table, f1_effects, precision_effects, recall_effects

CHANCE = Baseline(
    rule="above chance",
    answer="the same scores for every row",
    value="what the same answer to every row scores",
    limit="what the same answer to every row scores",
    sentence="The same scores for every row would have a mean average precision of {}.",
)


@dataclass(frozen=True)
class LabelCounts:
    """Sums over the rows of each of R weightings."""

    weights: Floats
    """(R, N)"""
    hits: Floats
    """(R, L) rows that have the label and are given it."""
    support: Floats
    """(R, L) rows that have it."""
    answers: Floats
    """(R, L) rows that are given it."""
    scored: LabelScorer


@dataclass(frozen=True)
class LabelScorer(Scorer[LabelCounts]):
    """Sets of labels."""

    probabilities: Floats
    predicted: NDArray[np.bool_]
    truth: NDArray[np.bool_]

    @property
    def metrics(self) -> tuple[Metric[Any, LabelCounts], ...]:
        """See METRICS."""
        return METRICS

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    @cached_property
    def table(self) -> Table:
        """Counts over all rows."""
        of = (self.predicted & self.truth, self.truth, self.predicted)
        return Table(self.rows, *(members.sum(axis=0).astype(np.float64) for members in of))

    def take(self, rows: Indices) -> LabelScorer:
        """Some of the rows."""
        return LabelScorer(self.probabilities[rows], self.predicted[rows], self.truth[rows])

    def count(self, chosen: Indices) -> LabelCounts:
        """Matrix products of the rows' weights."""
        weights = row_weights(chosen)
        hits = weights @ (self.predicted & self.truth).astype(np.float64)
        support, answers = weights @ self.truth.astype(np.float64), weights @ self.predicted.astype(np.float64)
        return LabelCounts(weights, hits, support, answers, self)

    def class_rows(self) -> dict[int, tuple[Indices, NDArray[np.bool_]]]:
        """The rows that have each label."""
        found = {}
        for label in np.flatnonzero(self.truth.any(axis=0)):
            rows = np.flatnonzero(self.truth[:, label])
            found[int(label)] = (rows, self.predicted[rows, label])
        return found

    @property
    def exact(self) -> NDArray[np.bool_]:
        """(N,) whether the row is given exactly the right set."""
        found: NDArray[np.bool_] = (self.predicted == self.truth).all(axis=1)
        return found

    def errors(self) -> Floats:
        """The number of labels that are wrongly given or left out."""
        return np.asarray((self.predicted != self.truth).sum(axis=1), np.float64)

    def baselines(self) -> dict[str, float]:
        """With all scores equal, precision is the label's share."""
        shares = self.truth.mean(axis=0) if self.rows else np.zeros(0)
        return {"mean_ap": float(shares[shares > 0].mean())} if (shares > 0).any() else {}


def exact_match(counts: LabelCounts) -> Floats:
    """(R,) share of rows with exactly the right set."""
    return np.asarray(counts.weights @ counts.scored.exact / counts.weights.sum(axis=1), np.float64)


def micro_f1(counts: LabelCounts) -> Floats:
    """(R,) F1 over all pairs of row and label."""
    return ratio(2 * counts.hits.sum(axis=1), (counts.support + counts.answers).sum(axis=1))


def macro_f1(counts: LabelCounts) -> Floats:
    """(R,) the mean over the labels that occur in the truth or among the answers."""
    return macro_mean(ratio(2 * counts.hits, counts.support + counts.answers), counts.support + counts.answers)


def macro_recall(counts: LabelCounts) -> Floats:
    """(R,) likewise."""
    return macro_mean(ratio(counts.hits, counts.support), counts.support + counts.answers)


def macro_precision(counts: LabelCounts) -> Floats:
    """(R,) likewise."""
    return macro_mean(ratio(counts.hits, counts.answers), counts.support + counts.answers)


METRICS: tuple[Metric[LabelScorer, LabelCounts], ...] = (
    Metric("exact_match", "Exact match", exact_match, holds=lambda scored: scored.exact, interval="wilson"),
    Metric("micro_f1", "Micro F1", micro_f1, pooled(f1_effects), "like-share"),
    Metric("macro_f1", "Macro F1", macro_f1, counted(f1_effects), "like-share", by_class=True),
    Metric("macro_recall", "Macro recall", macro_recall, counted(recall_effects), "like-share", by_class=True),
    Metric("macro_precision", "Macro precision", macro_precision, counted(precision_effects), "like-share", by_class=True),
    Metric("mean_ap", "Mean average precision", None, mean_precision, "logit", by_class=True, baseline=CHANCE),
    Metric(
        "brier", "Brier score", None, brier, "hall", high=2.0, unit="score", lower_is_better=True, compact=False,
    ),
    Metric(
        "log_loss", "Log loss", None, log_loss, "hall", high=inf, unit="score", lower_is_better=True, compact=False,
    ),
)  # fmt: skip


def average_precision(scores: Floats, truth: NDArray[np.bool_], weights: Floats) -> Floats:
    """(R,) the precision at every recall gained, as scikit-learn: equal scores are one threshold; NaN without a true row."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # only after the last of equals is there a threshold
    seen = np.cumsum(weights[:, order], axis=1)[:, last]
    right = np.cumsum(weights[:, order] * truth[order], axis=1)[:, last]
    gained = np.diff(right, axis=1, prepend=0.0)
    total = right[:, -1] if right.shape[1] else np.zeros(len(weights))
    return np.where(total > 0, (gained * ratio(right, seen)).sum(axis=1) / np.where(total > 0, total, 1), np.nan)
