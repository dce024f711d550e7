"""Metrics of numbers, all arrays (N,). Each is defined on weighted rows, see tasks.problems.multilabel_metrics. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from tasks.problems.metric import Baseline, Floats, Indices, Metric
from tasks.problems.scoring import Scorer, row_weights

MEAN = Baseline(
    rule="below that of the mean",
    answer="always the mean of the train rows",
    value="what the same answer to every row scores",
    limit="what the same answer to every row scores",
    sentence="Always answering the mean of the train rows would have a mean absolute error of {}.",
)


@dataclass(frozen=True)
class ErrorSums:
    """Sums over the rows of each of R weightings; all (R,)."""

    rows: Floats
    absolute: Floats
    squared: Floats
    variance: Floats
    """Of the true numbers."""


@dataclass(frozen=True)
class NumberScorer(Scorer[ErrorSums]):
    """Numbers in the user's unit."""

    predicted: Floats
    truth: Floats
    constant: float = 0.0
    """The mean of the train rows: the best answer that is always the same."""

    @property
    def metrics(self) -> tuple[Metric[Any, ErrorSums], ...]:
        """See METRICS."""
        return METRICS

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    def take(self, rows: Indices) -> NumberScorer:
        """Some of the rows."""
        return NumberScorer(self.predicted[rows], self.truth[rows], self.constant)

    def count(self, chosen: Indices) -> ErrorSums:
        """Matrix products of the rows' weights."""
        weights = row_weights(chosen)
        total = weights.sum(axis=1)
        errors = self.predicted - self.truth
        centred = self.truth - self.truth.mean()
        mean = weights @ centred / total
        variance = weights @ centred**2 / total - mean**2
        return ErrorSums(total, weights @ np.abs(errors), weights @ errors**2, variance)

    def baselines(self) -> dict[str, float]:
        """Always the constant."""
        same = NumberScorer(np.full(self.rows, self.constant), self.truth)
        return {name: value for name, value in same.score().items() if value is not None}


def explained(sums: ErrorSums) -> Floats:
    """(R,) share of the variance explained; not defined where all true numbers are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums.variance > 0, 1 - sums.squared / sums.rows / sums.variance, np.nan)


METRICS: tuple[Metric[NumberScorer, ErrorSums], ...] = (
    Metric(
        "mae", "Mean absolute error", lambda sums: sums.absolute / sums.rows,
        high=inf, unit="number", lower_is_better=True, baseline=MEAN,
    ),
    Metric(
        "rmse", "Root mean squared error", lambda sums: np.sqrt(sums.squared / sums.rows),
        high=inf, unit="number", lower_is_better=True, baseline=MEAN,
    ),
    Metric("r2", "Variance explained (R²)", explained, low=-inf, unit="score"),
)  # fmt: skip
