"""Metrics of one class a row, from probabilities (N, C) and true class indices (N,). Pure numpy.

Conventions: the predicted class is the most probable one, the first of equals, unless the answers are given. Macro figures
are means over the classes that occur in the truth or among the predictions; a precision, recall or F1 whose denominator
is zero counts as 0 (as scikit-learn with `zero_division=0`). What is not defined is None, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.problems.class_estimates import auroc, brier, calibration_error, counted, log_loss
from tasks.problems.metric import Baseline, Floats, Indices, Metric, Probabilities
from tasks.problems.scoring import Scorer, macro_mean, ratio
from tasks.problems.table_estimates import Table, f1_effects, matthews_effects, precision_effects, recall_effects

# 15 equal-width bins of the top-label probability in the diagram: Guo et al. 2017, "On Calibration of Modern Neural
# Networks", sec. 4. The calibration error has its own, see class_estimates.py.
DIAGRAM_BINS = 15
MAJORITY = Baseline(
    rule="above majority",
    answer="always the most frequent class",
    value="majority share",
    limit="the share of the largest class",
    sentence="Always answering the most frequent class would score {} accuracy.",
)


@dataclass(frozen=True)
class ClassCounts:
    """Counts on each of R resamples."""

    rows: int
    """N, of each."""
    hits: Indices
    """(R, C) rows answered rightly, by class."""
    support: Indices
    """(R, C) rows that are of the class."""
    answers: Indices
    """(R, C) rows answered with it."""


@dataclass(frozen=True)
class ClassScorer(Scorer[ClassCounts]):
    """One class a row. `truth` lies in [0, C); without finite probabilities no metric is defined."""

    probabilities: Probabilities
    """(N, C)"""
    truth: Indices
    """(N,)"""
    predicted: Indices
    """(N,) the answers."""

    @property
    def metrics(self) -> tuple[Metric[Any, ClassCounts], ...]:
        """See METRICS."""
        return METRICS

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    @cached_property
    def is_defined(self) -> bool:
        """Whether there are rows, all with finite probabilities."""
        return self.rows > 0 and bool(np.isfinite(self.probabilities).all())

    @property
    def not_finite(self) -> int:
        """Rows with a probability that is not a number."""
        return int((~np.isfinite(self.probabilities).all(axis=1)).sum())

    @property
    def classes(self) -> int:
        """C."""
        return int(self.probabilities.shape[1])

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the answer is the truth."""
        return np.equal(self.truth, self.predicted)

    @cached_property
    def confidence(self) -> Floats:
        """(N,) probability of the answer; 0 for what is not a number."""
        chosen = np.take_along_axis(self.probabilities, self.predicted[:, None], axis=1)[:, 0].astype(np.float64)
        finite = np.isfinite(self.probabilities).all(axis=1)
        return np.where(finite, chosen, 0.0)

    @cached_property
    def table(self) -> Table:
        """Counts over all rows."""
        of = (self.truth[self.correct], self.truth, self.predicted)
        return Table(self.rows, *(np.bincount(values, minlength=self.classes).astype(np.float64) for values in of))

    @cached_property
    def bins(self) -> Indices:
        """(N,) bin of the confidence in the calibration diagram."""
        # Bins are (lower, upper], so that a confidence of exactly 1 falls into the last one.
        return np.clip(np.ceil(self.confidence * DIAGRAM_BINS).astype(np.int64) - 1, 0, DIAGRAM_BINS - 1)

    def take(self, rows: Indices) -> ClassScorer:
        """Some of the rows."""
        return ClassScorer(self.probabilities[rows], self.truth[rows], self.predicted[rows])

    def count(self, chosen: Indices) -> ClassCounts:
        """Counted with `bincount` over all resamples of the block at once."""
        resamples, rows = chosen.shape
        shift = np.arange(resamples)[:, None]

        def count(values: Indices, bins: int) -> Indices:
            """(R, bins) how often each of the values (N,) is on each resample."""
            cells = (values[chosen] + shift * bins).ravel()
            return np.bincount(cells, minlength=resamples * bins).reshape(resamples, bins)

        # Rows answered wrongly are counted in one more class, which is then cut off.
        hits = count(np.where(self.correct, self.truth, self.classes), self.classes + 1)[:, : self.classes]
        support, answers = count(self.truth, self.classes), count(self.predicted, self.classes)
        return ClassCounts(rows, hits, support, answers)

    def class_rows(self) -> dict[int, tuple[Indices, NDArray[np.bool_]]]:
        """The rows that are of each class."""
        order = np.argsort(self.truth, kind="stable")
        classes, first = np.unique(self.truth[order], return_index=True)
        parts = np.split(order, first[1:])
        return {int(name): (rows, self.correct[rows]) for name, rows in zip(classes, parts, strict=False)}

    def errors(self) -> Floats:
        """1 where the answer is wrong."""
        return np.asarray(~self.correct, np.float64)

    def baselines(self) -> dict[str, float]:
        """The most frequent class."""
        return {"accuracy": float(np.bincount(self.truth).max() / self.rows)} if self.rows else {}


def score_classes(probabilities: Probabilities, truth: Indices, predicted: Indices | None = None) -> ClassScorer:
    """The scorer of these rows. `predicted` (N,): the answers of a model that decides by other than the greatest
    probability."""
    finite = np.isfinite(probabilities).all(axis=1, keepdims=True)
    answers = np.where(finite, probabilities, 0).argmax(axis=1) if predicted is None else predicted
    return ClassScorer(probabilities, truth.astype(np.int64), answers.astype(np.int64))


def macro_f1(counts: ClassCounts) -> Floats:
    """(R,)"""
    return macro_mean(ratio(2 * counts.hits, counts.support + counts.answers), counts.support + counts.answers)


def macro_recall(counts: ClassCounts) -> Floats:
    """(R,)"""
    return macro_mean(ratio(counts.hits, counts.support), counts.support + counts.answers)


def macro_precision(counts: ClassCounts) -> Floats:
    """(R,)"""
    return macro_mean(ratio(counts.hits, counts.answers), counts.support + counts.answers)


def matthews(counts: ClassCounts) -> Floats:
    """(R,) the correlation of truth and answer over C classes (Gorodkin 2004); 0 where either has one class only."""
    support, answers, rows = counts.support.astype(np.float64), counts.answers.astype(np.float64), float(counts.rows)
    both = counts.hits.sum(axis=1) * rows - (support * answers).sum(axis=1)
    spread = (rows**2 - (support**2).sum(axis=1)) * (rows**2 - (answers**2).sum(axis=1))
    return ratio(both, np.sqrt(spread))


METRICS: tuple[Metric[ClassScorer, ClassCounts], ...] = (
    Metric(
        "accuracy", "Accuracy", lambda n: n.hits.sum(axis=1) / n.rows, holds=lambda scored: scored.correct, interval="wilson",
        baseline=MAJORITY,
    ),
    Metric("macro_f1", "Macro F1", macro_f1, counted(f1_effects), "like-share", by_class=True),
    Metric("macro_recall", "Macro recall", macro_recall, counted(recall_effects), "like-share", by_class=True),
    Metric("macro_precision", "Macro precision", macro_precision, counted(precision_effects), "like-share", by_class=True),
    Metric(
        "mcc", "Matthews correlation", matthews, counted(matthews_effects), "fisher",
        low=-1.0, unit="score", compact=False,
    ),
    Metric("ece", "Calibration error", None, calibration_error, "root-mean-square", lower_is_better=True),
    Metric(
        "brier", "Brier score", None, brier, "hall", high=2.0, unit="score", lower_is_better=True, compact=False,
    ),
    Metric(
        "log_loss", "Log loss", None, log_loss, "hall", high=inf, unit="score", lower_is_better=True, compact=False,
    ),
    Metric("auroc", "AUROC", None, auroc, "logit", compact=False),
)  # fmt: skip


def per_class(scored: ClassScorer, labels: tuple[str, ...]) -> list[dict[str, str | float | None]]:
    """One row per class that occurs in the truth or among the predictions, in class order."""
    counts = scored.count(np.arange(scored.rows)[None])
    hits, support, answers = counts.hits[0], counts.support[0], counts.answers[0]
    precision, recall, f1 = ratio(hits, answers), ratio(hits, support), ratio(2 * hits, support + answers)
    return [
        {
            "label": labels[c],
            "precision": float(precision[c]) if answers[c] else None,
            "recall": float(recall[c]) if support[c] else None,
            "f1": float(f1[c]),
            "support": int(support[c]),
            "predicted": int(answers[c]),
        }
        for c in np.flatnonzero(support + answers)
    ]


def confusion(scored: ClassScorer) -> list[tuple[int, int, int]]:
    """The non-zero cells of the confusion matrix: (true class, predicted class, rows). Sparse: 1,000 classes stay small."""
    classes = scored.classes
    cells, counts = np.unique(scored.truth * classes + scored.predicted, return_counts=True)
    return [(int(cell) // classes, int(cell) % classes, int(n)) for cell, n in zip(cells, counts, strict=True)]


def calibration(scored: ClassScorer) -> list[dict[str, float | None]]:
    """The diagram's bins: bounds, rows, mean confidence and accuracy (None where a bin is empty)."""
    counts = np.bincount(scored.bins, minlength=DIAGRAM_BINS)
    confidence = np.bincount(scored.bins, weights=scored.confidence, minlength=DIAGRAM_BINS)
    correct = np.bincount(scored.bins, weights=scored.correct, minlength=DIAGRAM_BINS)
    return [
        {
            "low": b / DIAGRAM_BINS,
            "high": (b + 1) / DIAGRAM_BINS,
            "count": int(counts[b]),
            "confidence": float(confidence[b] / counts[b]) if counts[b] else None,
            "accuracy": float(correct[b] / counts[b]) if counts[b] else None,
        }
        for b in range(DIAGRAM_BINS)
    ]
