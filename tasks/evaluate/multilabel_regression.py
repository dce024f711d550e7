"""Figures of label sets and of numbers, with intervals. Each is defined on weighted rows: once with equal weights for the
figure itself, and with those of every resample for its interval (percentile bootstrap, see tasks.evaluate.intervals).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Metrics
from tasks.evaluate.intervals import CONFIDENCE, percentiles, resamples, wilson
from tasks.evaluate.metrics import Floats, Indices
from tasks.labels import METRICS

Interval = tuple[float, float]
_AP_CELLS = 200_000
"""Rows x labels of which the average precision is resampled; of more it has no interval, as each needs a sum per row."""


class Judged(Protocol):
    """What a model answered to N rows, beside the truth."""

    @property
    def rows(self) -> int:
        """N."""

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """Metric to its value (R,) under each of R weightings (R, N); NaN where it is not defined."""

    def take(self, rows: Indices) -> Judged:
        """Some of the rows."""


@dataclass(frozen=True)
class JudgedNumbers:
    """Numbers; mean absolute error, root of the mean squared error, share of the variance explained."""

    predicted: Floats
    truth: Floats

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    def take(self, rows: Indices) -> JudgedNumbers:
        """Some of the rows."""
        return JudgedNumbers(self.predicted[rows], self.truth[rows])

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """mae and rmse in the user's unit; r2 is not defined where all true numbers are equal."""
        total = weights.sum(axis=1)
        errors = self.predicted - self.truth
        centred = self.truth - self.truth.mean()
        squared = weights @ errors**2
        mean = weights @ centred / total
        variance = weights @ centred**2 / total - mean**2
        with np.errstate(divide="ignore", invalid="ignore"):
            explained = np.where(variance > 0, 1 - squared / total / variance, np.nan)
        return {"mae": weights @ np.abs(errors) / total, "rmse": np.sqrt(squared / total), "r2": explained}


@dataclass(frozen=True)
class JudgedSets:
    """Sets of labels; all arrays (N, L)."""

    probabilities: Floats
    given: NDArray[np.bool_]
    truth: NDArray[np.bool_]

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    def take(self, rows: Indices) -> JudgedSets:
        """Some of the rows."""
        return JudgedSets(self.probabilities[rows], self.given[rows], self.truth[rows])

    def figures(self, weights: Floats) -> dict[str, Floats]:
        """Share of rows with exactly the right set; F1 over all pairs of row and label; means over the labels that occur in
        the truth or among the answers; mean average precision over the labels that some rows have."""
        hits = weights @ (self.given & self.truth).astype(np.float64)
        support, answers = weights @ self.truth.astype(np.float64), weights @ self.given.astype(np.float64)
        occurring = np.maximum(((support + answers) > 0).sum(axis=1), 1)
        found = {
            "exact_match": weights @ (self.given == self.truth).all(axis=1) / weights.sum(axis=1),
            "micro_f1": _ratio(2 * hits.sum(axis=1), (support + answers).sum(axis=1)),
            "macro_f1": _ratio(2 * hits, support + answers).sum(axis=1) / occurring,
            "macro_recall": _ratio(hits, support).sum(axis=1) / occurring,
            "macro_precision": _ratio(hits, answers).sum(axis=1) / occurring,
        }
        if len(weights) == 1 or self.truth.size <= _AP_CELLS:
            found["mean_ap"] = self._mean_precision(weights)
        return found

    def _mean_precision(self, weights: Floats) -> Floats:
        each = [
            average_precision(self.probabilities[:, label], self.truth[:, label], weights)
            for label in range(self.truth.shape[1])
        ]
        columns = np.stack(each, axis=1) if each else np.full((len(weights), 1), np.nan)
        counted = (~np.isnan(columns)).sum(axis=1)
        return np.where(counted > 0, np.nansum(columns, axis=1) / np.maximum(counted, 1), np.nan)


def average_precision(scores: Floats, truth: NDArray[np.bool_], weights: Floats) -> Floats:
    """(R,) the precision at every recall gained, as scikit-learn: equal scores are one threshold; NaN without a true row."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # only after the last of equals is there a threshold
    seen = np.cumsum(weights[:, order], axis=1)[:, last]
    right = np.cumsum(weights[:, order] * truth[order], axis=1)[:, last]
    gained = np.diff(right, axis=1, prepend=0.0)
    total = right[:, -1] if right.shape[1] else np.zeros(len(weights))
    return np.where(total > 0, (gained * _ratio(right, seen)).sum(axis=1) / np.where(total > 0, total, 1), np.nan)


def score(judged: Judged) -> Metrics:
    """Every metric of the problem; None where it is not defined, or there are no rows."""
    if not judged.rows:
        return dict.fromkeys(METRICS["regression" if isinstance(judged, JudgedNumbers) else "multilabel"])
    found = judged.figures(np.ones((1, judged.rows)))
    return {name: float(values[0]) if np.isfinite(values[0]) else None for name, values in found.items()}


def intervals(judged: Judged, seed: int, confidence: float = CONFIDENCE) -> dict[str, Interval]:
    """Metric to its two-sided interval, which always contains the figure; undefined metrics are left out."""
    point = {name: value for name, value in score(judged).items() if value is not None}
    if not point:
        return {}
    draws = _draws([judged], seed)[0]
    found = {
        name: _possible(name, percentiles(draws[name], confidence, value))
        for name, value in point.items()
        if name in draws and np.isfinite(draws[name]).all()
    }
    # As of accuracy: of rows that are all right, every resample is all right, too.
    if "exact_match" in point:
        share = wilson(round(point["exact_match"] * judged.rows), judged.rows, confidence)
        found |= {} if share is None else {"exact_match": share}
    return found


def _possible(name: str, bounds: Interval) -> Interval:
    """The part of an interval in which the metric can lie."""
    low, high = bounds
    return (low if name == "r2" else max(low, 0.0)), (high if name in ("mae", "rmse") else min(high, 1.0))


def differences(ours: Judged, theirs: Judged, seed: int, confidence: float) -> dict[str, tuple[float, float, float]]:
    """Metric to ours minus theirs: value, low, high, both on the same resampled rows."""
    left, right = score(ours), score(theirs)
    points = {name: a - b for name, a in left.items() if a is not None and (b := right.get(name)) is not None}
    if not points:
        return {}
    mine, others = _draws([ours, theirs], seed)
    found = {}
    for name, value in points.items():
        apart = mine[name] - others[name] if name in mine else np.array([np.nan])
        bounds = percentiles(apart, confidence, value) if np.isfinite(apart).all() else (np.nan, np.nan)
        if np.isfinite(bounds).all():
            found[name] = (value, *bounds)
    return found


def _draws(models: list[Any], seed: int) -> list[dict[str, Floats]]:
    """For each model, metric to its values on the same resamples."""
    blocks: list[list[dict[str, Floats]]] = [[] for _ in models]
    for weights in _weights(models[0].rows, seed):
        for judged, collected in zip(models, blocks, strict=True):
            collected.append(judged.figures(weights))
    return [{name: np.concatenate([block[name] for block in found]) for name in found[0]} for found in blocks]


def _weights(rows: int, seed: int) -> Iterator[Floats]:
    """Blocks (R, N): how often each row is in each resample."""
    for chosen in resamples(rows, seed):
        cells = chosen + np.arange(len(chosen))[:, None] * rows
        yield np.bincount(cells.ravel(), minlength=len(chosen) * rows).reshape(len(chosen), rows).astype(np.float64)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)
