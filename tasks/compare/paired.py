"""A variant against the reference, paired over test rows and seeds: the difference with its interval and its p-value.

The difference is the mean over seeds of (variant - reference), both trained from the same seed and scored on the same rows. It
varies for two reasons, and both count: another draw of test rows, by the paired bootstrap over rows (of clusters the jackknife,
as wherever rows come in clusters, see tasks/problems/scoring.py), of the mean over seeds; and another seed, by the variance of
the single seeds' differences. The two variances are added, the degrees of freedom are Satterthwaite's (1946): with few seeds
that disagree, the interval is wide. The interval excludes 0 where p <= alpha, and only there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_contracts.comparison import PairedDifference
from tasks.errors import DataError
from tasks.problems.metric import Floats, Metric
from tasks.problems.scoring import AnyScorer, Clusters, are_few, holm, resamples, variance_of


@dataclass(frozen=True)
class Measured:
    """One variant's fits on the test rows."""

    name: str
    scorers: tuple[AnyScorer, ...]
    """One a seed; one alone where nothing is drawn at random."""
    scores: tuple[float, ...]
    draws: Floats | None
    """(seeds, RESAMPLES) the metric on the resamples that all variants share; None where it is not resampled."""
    influence: Floats | None
    """(seeds, T) each row's influence on the metric; None where it is not needed."""

    def of_seed(self, place: int) -> AnyScorer:
        """The fit of the seed at this place; of a variant that has one alone, that one."""
        return self.scorers[place % len(self.scorers)]


def measure(
    name: str, scorers: Sequence[AnyScorer], metric: Metric[Any, Any], seed: int, clusters: Clusters
) -> Measured:
    """The metric of every fit, and how it varies with the rows. DataError where it is not defined on them."""
    found = [scorer.score().get(metric.name) for scorer in scorers]
    if any(value is None for value in found):
        raise DataError(f"compare: {metric.name} of variant {name} is not defined on the {scorers[0].rows} test rows")
    scores = tuple(float(value) for value in found if value is not None)
    if clusters is None and metric.compute is not None:
        blocks: list[list[Floats]] = [[] for _ in scorers]
        for chosen in resamples(scorers[0].rows, seed):
            for scorer, block in zip(scorers, blocks, strict=True):
                block.append(np.asarray(metric.compute(scorer.count(chosen)), np.float64))
        return Measured(name, tuple(scorers), scores, np.stack([np.concatenate(block) for block in blocks]), None)
    return Measured(name, tuple(scorers), scores, None, np.stack([_influence(each, metric) for each in scorers]))


def _influence(scorer: AnyScorer, metric: Metric[Any, Any]) -> Floats:
    if metric.holds is not None:
        right = metric.holds(scorer).astype(np.float64)
        return np.asarray(right - right.mean(), np.float64)
    found = None if metric.estimate is None else metric.estimate(scorer)
    if found is None:
        raise DataError(f"compare: how {metric.name} varies with the rows is not known; choose another compare.metric")
    return found.influence


def compare_with(
    ours: Measured, reference: Measured, metric: Metric[Any, Any], clusters: Clusters, alpha: float
) -> PairedDifference:
    """Ours minus the reference; p_holm is p, to be corrected by `correct`."""
    seeds = max(len(ours.scores), len(reference.scores))
    pairs = [(place % len(ours.scores), place % len(reference.scores)) for place in range(seeds)]
    by_seed = np.array([ours.scores[a] - reference.scores[b] for a, b in pairs])
    value = float(by_seed.mean())
    differs = np.zeros(ours.scorers[0].rows, bool)
    for place in range(seeds):
        differs |= ours.of_seed(place).gains(reference.of_seed(place)) != 0
    units = int(differs.sum()) if clusters is None else len(np.unique(clusters[differs]))
    by_rows = _variance_by_rows(ours, reference, pairs, clusters)
    by_seeds = float(by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
    low, high, p = _infer(value, by_rows, by_seeds, units, seeds, alpha)
    width = metric.high - metric.low
    if are_few(clusters):
        low, high, p = -width, width, 1.0
    return PairedDifference(
        value=value,
        low=max(low, -width),
        high=min(high, width),
        p=p,
        p_holm=p,
        by_seed=tuple(by_seed.tolist()),
        rows_se=by_rows**0.5,
        seeds_se=by_seeds**0.5,
        differing=units,
    )


def _variance_by_rows(
    ours: Measured, reference: Measured, pairs: Sequence[tuple[int, int]], clusters: Clusters
) -> float:
    """Of the mean over seeds of the difference."""
    mine, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    if ours.draws is not None and reference.draws is not None:
        apart = (ours.draws[mine] - reference.draws[theirs]).mean(axis=0)
        return float(apart.var(ddof=1)) if np.isfinite(apart).all() else float("inf")
    assert ours.influence is not None
    assert reference.influence is not None
    return variance_of((ours.influence[mine] - reference.influence[theirs]).mean(axis=0), clusters)


def _infer(
    value: float, by_rows: float, by_seeds: float, units: int, seeds: int, alpha: float
) -> tuple[float, float, float]:
    """(low, high, p). Of k rows that the two answer differently, all favour one of two equal models with a chance of 2^(1 - k):
    no p is smaller (as with MIN_CLUSTERS)."""
    from scipy.special import stdtr, stdtrit

    least = min(1.0, 2.0 ** (1 - units))
    variance = by_rows + by_seeds
    if not np.isfinite(variance):
        return -np.inf, np.inf, 1.0
    if variance <= 0:
        half, p = 0.0, 1.0 if value == 0 else 0.0
    else:
        freedom = variance**2 / (by_rows**2 / max(units - 1, 1) + by_seeds**2 / max(seeds - 1, 1))
        error = variance**0.5
        half = float(stdtrit(freedom, 1 - alpha / 2)) * error
        p = 2 * float(stdtr(freedom, -abs(value) / error))
    low, high = value - half, value + half
    if least > alpha:  # so few rows tell nothing apart
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high, max(p, least)


def correct(found: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The same with Holm's correction over all of them."""
    adjusted = holm([each.p for each in found])
    return [each.model_copy(update={"p_holm": p}) for each, p in zip(found, adjusted, strict=True)]
