"""Figures of a classifier, from probabilities (N, C) and true class indices (N,). Pure numpy.

Conventions: the predicted class is the most probable one, the first of equals, unless the answers are given. Macro figures
are means over the classes that occur in the truth or among the predictions; a precision, recall or F1 whose denominator
is zero counts as 0 (as scikit-learn with `zero_division=0`). What is not defined is None, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Metrics

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

METRICS = ("accuracy", "macro_f1", "macro_recall", "macro_precision", "ece", "auroc")
# 15 equal-width bins of the top-label probability: Guo et al. 2017, "On Calibration of Modern Neural Networks", sec. 4.
ECE_BINS = 15


@dataclass(frozen=True)
class Judged:
    """What each row contributes to the figures; all arrays (N,)."""

    truth: Indices
    predicted: Indices
    confidence: Floats
    """Probability of the predicted class."""
    bins: Indices
    """Calibration bin of the confidence."""
    classes: int

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the prediction is the truth."""
        return np.equal(self.truth, self.predicted)


def judge(probabilities: NDArray[np.floating[Any]], truth: Indices, predicted: Indices | None = None) -> Judged:
    """Every row's prediction, confidence and calibration bin. `probabilities` (N, C) is finite, `truth` lies in [0, C).

    `predicted` (N,): the answers of a model that decides by other than the greatest probability.
    """
    predicted = probabilities.argmax(axis=1) if predicted is None else predicted
    confidence = np.take_along_axis(probabilities, predicted[:, None], axis=1)[:, 0].astype(np.float64)
    # Bins are (lower, upper], so that a confidence of exactly 1 falls into the last one.
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    return Judged(truth.astype(np.int64), predicted, confidence, bins, probabilities.shape[1])


def score(probabilities: NDArray[np.floating[Any]], truth: Indices, predicted: Indices | None = None) -> Metrics:
    """Every metric of METRICS; all None when there are no rows or a probability is not finite. `predicted`: see judge."""
    if not len(truth) or not np.isfinite(probabilities).all():
        return dict.fromkeys(METRICS)
    judged = judge(probabilities, truth, predicted)
    hits, support, answers = (counts[None] for counts in class_counts(judged))
    gaps = np.bincount(judged.bins, weights=judged.correct - judged.confidence, minlength=ECE_BINS)
    macro = {name: float(values[0]) for name, values in macro_figures(hits, support, answers).items()}
    return {
        "accuracy": float(judged.correct.mean()),
        **macro,
        "ece": float(np.abs(gaps).sum() / len(truth)),
        "auroc": auroc(probabilities, truth)[0],
    }


def class_counts(judged: Judged) -> tuple[Indices, Indices, Indices]:
    """Per class (C,): rows answered rightly, rows that are of it, rows answered with it."""
    hits = np.bincount(judged.truth[judged.correct], minlength=judged.classes)
    support = np.bincount(judged.truth, minlength=judged.classes)
    answers = np.bincount(judged.predicted, minlength=judged.classes)
    return hits, support, answers


def macro_figures(hits: Indices, support: Indices, answers: Indices) -> dict[str, Floats]:
    """macro_precision, macro_recall and macro_f1 (R,) of R sets of class counts (R, C)."""
    occurring = np.maximum(((support + answers) > 0).sum(axis=1), 1)
    return {
        "macro_f1": _ratio(2 * hits, support + answers).sum(axis=1) / occurring,
        "macro_recall": _ratio(hits, support).sum(axis=1) / occurring,
        "macro_precision": _ratio(hits, answers).sum(axis=1) / occurring,
    }


def auroc(probabilities: NDArray[np.floating[Any]], truth: Indices) -> tuple[float | None, Floats]:
    """The area under the ROC curve, one class against the rest, averaged over the classes with rows on both sides.

    Also each row's influence on it (N,): the root of its summed squares, over N, is the standard error
    (DeLong, DeLong & Clarke-Pearson 1988; midranks as in Sun & Xu 2014). (None, zeros) where no class has both sides.
    """
    rows = len(truth)
    areas: list[float] = []
    influence = np.zeros(rows)
    for index in np.unique(truth):
        positive = truth == index
        m, n = int(positive.sum()), rows - int(positive.sum())
        if n == 0:
            continue
        scores = probabilities[:, index]
        ranks = _midranks(scores)
        above = (ranks[positive] - _midranks(scores[positive])) / n  # share of the negatives that each positive beats
        below = 1 - (ranks[~positive] - _midranks(scores[~positive])) / m
        area = float(above.mean())
        influence[positive] += (above - area) * rows / m
        influence[~positive] += (below - area) * rows / n
        areas.append(area)
    if not areas:
        return None, influence
    return float(np.mean(areas)), influence / len(areas)


def per_class(judged: Judged, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row per class that occurs in the truth or among the predictions, in class order."""
    hits, support, answers = class_counts(judged)
    precision, recall, f1 = _ratio(hits, answers), _ratio(hits, support), _ratio(2 * hits, support + answers)
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


def confusion(judged: Judged) -> list[tuple[int, int, int]]:
    """The non-zero cells of the confusion matrix: (true class, predicted class, rows). Sparse: 1,000 classes stay small."""
    cells, counts = np.unique(judged.truth * judged.classes + judged.predicted, return_counts=True)
    return [
        (int(cell) // judged.classes, int(cell) % judged.classes, int(n)) for cell, n in zip(cells, counts, strict=True)
    ]


def calibration(judged: Judged) -> list[dict[str, Any]]:
    """The ECE's bins: bounds, rows, mean confidence and accuracy (None where a bin is empty)."""
    counts = np.bincount(judged.bins, minlength=ECE_BINS)
    confidence = np.bincount(judged.bins, weights=judged.confidence, minlength=ECE_BINS)
    correct = np.bincount(judged.bins, weights=judged.correct, minlength=ECE_BINS)
    return [
        {
            "low": b / ECE_BINS,
            "high": (b + 1) / ECE_BINS,
            "count": int(counts[b]),
            "confidence": float(confidence[b] / counts[b]) if counts[b] else None,
            "accuracy": float(correct[b] / counts[b]) if counts[b] else None,
        }
        for b in range(ECE_BINS)
    ]


def _ratio(numerator: Indices, denominator: Indices) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)


def _midranks(values: NDArray[np.floating[Any]]) -> Floats:
    """1-based ranks; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return np.asarray(((last - counts + 1 + last) / 2)[inverse], dtype=np.float64)
