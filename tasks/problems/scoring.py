"""Scores with intervals, the same for every problem: of one model's figures those of tasks/problems/intervals.py, of the
differences of two models that answered the same rows a paired percentile bootstrap over rows, centred on the figure, seeded.

Resamples come in blocks of rows to take, so that a scorer counts many of them at once: 1,000 resamples of 10,000 rows with
10 classes take about a second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Self

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Metrics
from tasks.problems.intervals import CONFIDENCE, find_interval, normal_quantile, wilson
from tasks.problems.metric import Counts, Floats, Indices, Interval, Metric, Probabilities

RESAMPLES = 1_000
_BLOCK_ROWS = 1_000_000

Difference = tuple[float, float, float]


class Scorer(ABC, Generic[Counts]):
    """A model's answers to N rows beside the truth, and every metric of the problem on them."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric[Any, Counts], ...]:
        """The rows of the problem's table."""

    @property
    @abstractmethod
    def rows(self) -> int:
        """N."""

    @property
    def not_finite(self) -> int:
        """Rows whose outputs cannot be scored."""
        return 0

    @property
    def is_defined(self) -> bool:
        """Whether there is anything to score."""
        return self.rows > 0

    @abstractmethod
    def take(self, rows: Indices) -> Self:
        """Some of the rows."""

    @abstractmethod
    def count(self, chosen: Indices) -> Counts:
        """What the metrics are computed from, on each of R resamples: `chosen` (R, N) are the rows of each."""

    @abstractmethod
    def baselines(self) -> dict[str, float]:
        """Metric to what one and the same answer to every row scores."""

    def score(self) -> Metrics:
        """Every metric; None where it is not defined."""
        if not self.is_defined:
            return {metric.name: None for metric in self.metrics}
        counts = self.count(np.arange(self.rows)[None])
        return {metric.name: _defined(self._value(metric, counts)) for metric in self.metrics}

    def intervals(self, seed: int, confidence: float = CONFIDENCE) -> dict[str, Interval]:
        """Metric to its two-sided interval, which always contains the figure; what is not defined, or has too few rows for an
        interval, is left out."""
        point = {name: value for name, value in self.score().items() if value is not None}
        if not point:
            return {}
        drawn = any(metric.interval == "bootstrap" for metric in self.metrics)
        draws = _draws([self], seed)[0] if drawn else {}
        found = {}
        for metric in (metric for metric in self.metrics if metric.name in point):
            bounds = self._interval(metric, point[metric.name], draws.get(metric.name), confidence)
            if bounds is not None:
                found[metric.name] = metric.clip(bounds)
        return found

    def differences(self, other: Self, seed: int, confidence: float = CONFIDENCE) -> dict[str, Difference]:
        """Metric to this minus the other on the same resampled rows: value, low, high, none of them further from 0 than the
        metric's range is wide. Metrics that either does not have are left out."""
        ours, theirs = self.score(), other.score()
        points = {name: a - b for name, a in ours.items() if a is not None and (b := theirs.get(name)) is not None}
        if not points:
            return {}
        mine, others = _draws([self, other], seed)
        found = {}
        for metric in (metric for metric in self.metrics if metric.name in points):
            value = points[metric.name]
            if metric.compute is None:
                bounds = _normal(value, self._influence(metric) - other._influence(metric), confidence)
            elif metric.name in mine and np.isfinite(apart := mine[metric.name] - others[metric.name]).all():
                bounds = percentiles(apart, confidence, value)
            else:
                continue
            width = metric.high - metric.low
            found[metric.name] = (value, max(bounds[0], -width), min(bounds[1], width))
        return found

    def _value(self, metric: Metric[Any, Counts], counts: Counts) -> float | None:
        if metric.compute is not None:
            return float(metric.compute(counts)[0])
        found = None if metric.estimate is None else metric.estimate(self)
        return None if found is None else found.value

    def _influence(self, metric: Metric[Any, Counts]) -> Floats:
        found = None if metric.estimate is None else metric.estimate(self)
        return np.zeros(self.rows) if found is None else found.influence

    def _interval(
        self, metric: Metric[Any, Counts], value: float, draws: Floats | None, confidence: float
    ) -> Interval | None:
        if metric.interval == "wilson":
            return wilson(round(value * self.rows), self.rows, confidence)
        if metric.estimate is not None:
            found = metric.estimate(self)
            return None if found is None else find_interval(metric.interval, found, confidence)
        if draws is None or not np.isfinite(draws).all():
            return None
        return percentiles(draws, confidence, value)


AnyScorer = Scorer[Any]


def resamples(rows: int, seed: int) -> Iterator[Indices]:
    """Blocks of row indices (R, N), RESAMPLES in all."""
    generator = np.random.default_rng(seed)
    step = max(_BLOCK_ROWS // rows, 1)
    for start in range(0, RESAMPLES, step):
        yield generator.integers(0, rows, size=(min(step, RESAMPLES - start), rows))


def percentiles(draws: Floats, confidence: float, point: float) -> Interval:
    """The interval of a figure from its draws; it always contains the figure."""
    # Centred on the point: a resample's ECE is biased upwards (noise widens every bin's gap), and the macro figures of
    # many small classes downwards (a resample misses some of them).
    low, high = np.quantile(draws - draws.mean() + point, [(1 - confidence) / 2, (1 + confidence) / 2])
    return min(float(low), point), max(float(high), point)


def row_weights(chosen: Indices) -> Floats:
    """(R, N): how often each of N rows is in each of R resamples (R, N)."""
    count, rows = chosen.shape
    cells = chosen + np.arange(count)[:, None] * rows
    return np.bincount(cells.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)


def align(probabilities: Probabilities, own: tuple[str, ...], labels: tuple[str, ...]) -> Probabilities:
    """Columns moved from a model's own label order to `labels`; a label that the model does not know gets 0."""
    if own == labels:
        return probabilities
    positions = {label: index for index, label in enumerate(labels)}
    aligned = np.zeros((len(probabilities), len(labels)), dtype=probabilities.dtype)
    aligned[:, [positions[label] for label in own]] = probabilities
    return aligned


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Floats:
    """Numerator / denominator, 0 where the denominator is 0."""
    found: Floats = np.divide(numerator, denominator, out=np.zeros(denominator.shape), where=denominator > 0)
    return found


def macro_mean(values: Floats, occurring: NDArray[Any]) -> Floats:
    """(R,) the mean of `values` (R, C) over the classes that occur, those where `occurring` (R, C) is not 0."""
    found: Floats = values.sum(axis=1) / np.maximum((occurring > 0).sum(axis=1), 1)
    return found


def _draws(models: Sequence[Scorer[Any]], seed: int) -> list[dict[str, Floats]]:
    """For each model, metric to its values (RESAMPLES,) on the same resamples."""
    blocks: list[dict[str, list[Floats]]] = [{} for _ in models]
    for chosen in resamples(models[0].rows, seed):
        for model, collected in zip(models, blocks, strict=True):
            counts = model.count(chosen)
            for metric in model.metrics:
                if metric.compute is not None:
                    collected.setdefault(metric.name, []).append(metric.compute(counts))
    return [{name: np.concatenate(values) for name, values in found.items()} for found in blocks]


def _defined(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _normal(point: float, influence: Floats, confidence: float) -> Interval:
    error = float(np.sqrt(np.square(influence).sum())) / len(influence)
    half = normal_quantile(confidence) * error
    return point - half, point + half
