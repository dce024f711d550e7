"""Scores with intervals, the same for every problem: of one model's figures those of tasks/problems/intervals.py, of the
differences of two models that answered the same rows a paired percentile bootstrap over rows, centred on the figure, seeded.
Where rows come in clusters (the pictures of one patient), the clusters are left out in turn (the jackknife): rows that resemble
each other tell less than as many that do not.

Resamples come in blocks of rows to take, so that a scorer counts many of them at once: 1,000 resamples of 10,000 rows with
10 classes take about a second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any, Generic, Self

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Metrics
from tasks.problems.intervals import CONFIDENCE, find_interval, normal_quantile, wilson
from tasks.problems.metric import (
    TOO_FEW_ROWS,
    Counts,
    Estimate,
    Floats,
    Indices,
    Interval,
    IntervalMethod,
    Metric,
    Probabilities,
)

RESAMPLES = 1_000
_BLOCK_ROWS = 1_000_000
_MANY = 5_000
"""From so many on Student's t is the normal distribution, but for a thousandth."""
MIN_CLUSTERS = 6
"""Of fewer clusters there is no interval at 95 %: where two models are equal each cluster favours either by chance, and five
favour one and the same in 2 of 32 cases, more often than once in 20. benchmarks/coverage.py shows what six do."""

Difference = tuple[float, float, float]
Clusters = Indices | None
"""(N,) the number of each row's cluster, from 0 without gaps; None: every row stands for itself."""


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

    def class_rows(self) -> dict[int, tuple[Indices, NDArray[np.bool_]]]:
        """Class or label to the positions of its rows and whether each was answered rightly; nothing where there are none."""
        return {}

    @abstractmethod
    def errors(self) -> Floats:
        """(N,) how wrongly each row is answered: 0 or 1 where an answer is right or wrong."""

    def gains(self, other: Self) -> Floats:
        """(N,) how much better each row is answered than by the other: 1, 0 or -1 where an answer is right or wrong."""
        return other.errors() - self.errors()

    def count_differing(self, other: Self, clusters: Clusters = None) -> int:
        """Rows that one model answers better than the other, or clusters with such rows: all that tells the two apart."""
        differing = np.flatnonzero(self.gains(other))
        return len(differing) if clusters is None else len(np.unique(clusters[differing]))

    def effective_rows(self) -> dict[str, float]:
        """Metric to the number of equal rows on which one answer weighs as much as here; without those of no unit.

        Of a mean over classes the rows of a rare class weigh more: C^2 / sum(1 / rows of the class).
        """
        sizes = [len(rows) for rows, _ in self.class_rows().values()]
        by_class = len(sizes) ** 2 / sum(1 / size for size in sizes) if sizes else float(self.rows)
        return {
            metric.name: by_class if metric.by_class else float(self.rows)
            for metric in self.metrics
            if metric.unit == "share"
        }

    def intervals(self, seed: int, confidence: float = CONFIDENCE, clusters: Clusters = None) -> dict[str, Interval]:
        """Metric to its two-sided interval, which always contains the figure; what is not defined, or has too few rows for an
        interval, is left out. Of fewer than MIN_CLUSTERS clusters none has one."""
        point = {name: value for name, value in self.score().items() if value is not None}
        if not point or are_few(clusters):
            return {}
        drawn = clusters is None and any(metric.interval == "bootstrap" for metric in self.metrics)
        draws = _draws([self], seed)[0] if drawn else {}
        found = {}
        for metric in (metric for metric in self.metrics if metric.name in point):
            bounds = self._interval(metric, point[metric.name], draws.get(metric.name), confidence, clusters)
            if bounds is not None:
                found[metric.name] = metric.clip(bounds)
        return found

    def differences(
        self, other: Self, seed: int, confidence: float = CONFIDENCE, clusters: Clusters = None
    ) -> dict[str, Difference]:
        """Metric to this minus the other on the same rows: value, low, high, none of them further from 0 than the metric's
        range is wide; of fewer than MIN_CLUSTERS clusters all of that range. Metrics that either does not have are left
        out."""
        ours, theirs = self.score(), other.score()
        points = {name: a - b for name, a in ours.items() if a is not None and (b := theirs.get(name)) is not None}
        if not points:
            return {}
        mine, others = _draws([self, other], seed) if clusters is None else ({}, {})
        found, differing = {}, self.count_differing(other, clusters)
        for metric in (metric for metric in self.metrics if metric.name in points):
            value, units = points[metric.name], None if metric.compute is None else differing
            if (
                clusters is not None or metric.compute is None
            ):  # of probabilities, which may differ where no answer does
                if metric.estimate is None and metric.holds is None:
                    continue  # how its rows vary is not known
                apart = self._influence(metric) - other._influence(metric)
                bounds = _normal(value, apart, confidence, clusters, units)
            elif metric.name in mine and np.isfinite(apart := mine[metric.name] - others[metric.name]).all():
                bounds = widen(percentiles(apart, confidence, value), value, confidence, units)
            else:
                continue
            width = metric.high - metric.low
            low, high = max(bounds[0], -width), min(bounds[1], width)
            if isfinite(low) and isfinite(high):
                found[metric.name] = (value, low, high)
        return found

    def _value(self, metric: Metric[Any, Counts], counts: Counts) -> float | None:
        if metric.compute is not None:
            return float(metric.compute(counts)[0])
        found = None if metric.estimate is None else metric.estimate(self)
        return None if found is None else found.value

    def _influence(self, metric: Metric[Any, Counts]) -> Floats:
        if metric.holds is not None:
            right = metric.holds(self).astype(np.float64)
            return np.asarray(right - right.mean(), np.float64)
        found = None if metric.estimate is None else metric.estimate(self)
        return np.zeros(self.rows) if found is None else found.influence

    def _interval(
        self,
        metric: Metric[Any, Counts],
        value: float,
        draws: Floats | None,
        confidence: float,
        clusters: Clusters,
    ) -> Interval | None:
        if metric.holds is not None:
            return interval_of_share(metric.holds(self), confidence, clusters)
        if metric.estimate is not None:
            found = metric.estimate(self)
            return None if found is None else _interval_of_clusters(metric.interval, found, confidence, clusters)
        if draws is None or not np.isfinite(draws).all():
            return None
        return widen(percentiles(draws, confidence, value), value, confidence, None)


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: rejecting those <= alpha errs in any with a chance of at most alpha."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


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


def say_too_few(clusters: int | None) -> str:
    """Why a figure has no interval: `too few rows for an interval`, or by the number of clusters."""
    if clusters is None or clusters >= MIN_CLUSTERS:
        return TOO_FEW_ROWS
    have = "1 cluster is" if clusters == 1 else f"{clusters} clusters are"
    return f"{have} too few for an interval ({MIN_CLUSTERS} are enough)"


def are_few(clusters: Clusters) -> bool:
    """Whether the rows come in too few clusters for an interval."""
    return clusters is not None and int(clusters.max(initial=-1)) + 1 < MIN_CLUSTERS


def _normal(
    point: float, influence: Floats, confidence: float, clusters: Clusters, differing: int | None = None
) -> Interval:
    if are_few(clusters):
        return -inf, inf
    half = normal_quantile(confidence) * variance_of(influence, clusters) ** 0.5
    return widen((point - half, point + half), point, confidence, _units(clusters, differing))


def _units(clusters: Clusters, differing: int | None = None) -> int | None:
    """How many clusters there are, or fewer where fewer differ."""
    counts = [each for each in (None if clusters is None else int(clusters.max()) + 1, differing) if each is not None]
    return min(counts, default=None)


def variance_of(influence: Floats, clusters: Clusters) -> float:
    """The variance of a figure on which the rows have this influence (N,), by the delta method; of rows in clusters by the
    cluster jackknife (CV3 of MacKinnon, Nielsen & Webb 2023, "Cluster-robust inference: a guide to empirical practice"): each
    cluster is left out in turn, so that a large one, whose figure is near to that of all rows, does not seem sure.

    With the clusters' sums u and sizes n of N rows in G clusters: (G - 1) / G * sum((u / (N - n))^2).
    """
    rows = len(influence)
    if clusters is None:
        return float(np.square(influence).sum()) / rows**2
    sizes = np.bincount(clusters)
    left = np.bincount(clusters, influence) / (rows - sizes)
    return (len(sizes) - 1) / len(sizes) * float(np.square(left).sum())


def design_effect(influence: Floats, clusters: Clusters) -> float:
    """How many times more a mean varies than that of as many rows by themselves (Kish 1965); 1 or more. `influence` (N,): each
    row's value minus the mean."""
    independent = variance_of(influence, None)
    if clusters is None or not independent:
        return 1.0
    if int(clusters.max()) == 0:
        return float(len(influence))  # which count as one
    return max(variance_of(influence, clusters) / independent, 1.0)


def widen(bounds: Interval, point: float, confidence: float, units: int | None) -> Interval:
    """The interval by Student's t instead of the normal distribution: few of what varies say little of how much it varies.

    Of G clusters t has G - 1 degrees. Of a difference only the rows, or clusters, that differ count: an interval over 1,000
    rows of which 5 differ rests on 5 (so it agrees with McNemar's exact test, where a bootstrap calls 4 against 0 certain).
    """
    if units is None or units >= _MANY:
        return bounds
    from scipy.special import stdtrit

    factor = float(stdtrit(max(units - 1, 1), (1 + confidence) / 2)) / normal_quantile(confidence)
    return point - factor * (point - bounds[0]), point + factor * (bounds[1] - point)


def interval_of_share(
    holds: NDArray[np.bool_], confidence: float = CONFIDENCE, clusters: Clusters = None
) -> Interval | None:
    """Wilson's of the share of rows (N,) of which something holds; of rows in clusters on as many independent rows as would
    vary as these clusters do, all rows / the design effect. None without rows, or of too few clusters.

    Where all rows are right, or all wrong, nothing varies: each cluster then counts as one row.
    """
    rows, hits = len(holds), int(holds.sum())
    if clusters is None or not rows:
        return wilson(hits, rows, confidence)
    if are_few(clusters):
        return None
    share, count = hits / rows, int(clusters.max()) + 1
    effective = (
        max(rows / design_effect(np.asarray(holds - share, np.float64), clusters), 1.0)
        if 0 < hits < rows
        else float(count)
    )
    found = wilson(share * effective, effective, confidence)
    assert found is not None  # there are rows
    low, high = widen(found, share, confidence, count)
    return max(low, 0.0), min(high, 1.0)


def _interval_of_clusters(
    method: IntervalMethod, estimate: Estimate, confidence: float, clusters: Clusters
) -> Interval | None:
    """As tasks/problems/intervals.py has it, with the variance times the design effect of the rows' influence."""
    if clusters is None:
        return find_interval(method, estimate, confidence)
    alike = len(estimate.influence) / (int(clusters.max()) + 1)  # where nothing varies, each cluster counts as one row
    effect = design_effect(estimate.influence, clusters) if estimate.influence.any() else alike
    found = find_interval(method, replace(estimate, variance=estimate.variance * effect), confidence)
    return None if found is None else widen(found, estimate.value, confidence, _units(clusters))
