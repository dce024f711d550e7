"""How sure the figures are: percentile bootstrap over rows, centred on the figure, alone and paired, seeded.

A resample's figures need only class counts and calibration gaps, so they are counted with `bincount` over blocks of
resamples: 1,000 resamples of 10,000 rows take about a second. AUROC would need a sort per class and resample; its
intervals come from DeLong's standard error instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.evaluate.metrics import ECE_BINS, Floats, Indices, Judged, auroc, judge, macro_figures, score

RESAMPLES = 1_000
CONFIDENCE = 0.95
_BLOCK_ROWS = 1_000_000

Probabilities = NDArray[np.floating[Any]]
Interval = tuple[float, float]


def intervals(
    probabilities: Probabilities,
    truth: Indices,
    seed: int,
    confidence: float = CONFIDENCE,
    predicted: Indices | None = None,
) -> dict[str, Interval]:
    """Metric to its two-sided interval, which always contains the point estimate; undefined metrics are left out.

    `predicted` (N,): the answers of a model that decides by other than the greatest probability.
    """
    point = {name: value for name, value in score(probabilities, truth, predicted).items() if value is not None}
    if not point:
        return {}
    (draws,) = _draws([judge(probabilities, truth, predicted)], seed)
    found = {name: percentiles(values, confidence, point[name]) for name, values in draws.items()}
    # A bootstrap of rows that are all right is all right, too: with three rows, [1, 1]. A share has an honest interval.
    share = wilson(round(point["accuracy"] * len(truth)), len(truth), confidence)
    if share is not None:
        found["accuracy"] = share
    if "auroc" in point:
        found["auroc"] = _normal(point["auroc"], auroc(probabilities, truth)[1], confidence)
    return {name: (max(low, 0.0), min(high, 1.0)) for name, (low, high) in found.items()}


def paired_differences(
    candidate: Probabilities,
    champion: Probabilities,
    truth: Indices,
    seed: int,
    confidence: float = CONFIDENCE,
    predicted: tuple[Indices | None, Indices | None] = (None, None),
) -> dict[str, tuple[float, float, float]]:
    """Metric to candidate minus champion: value, low, high. Both are judged on the same resampled rows.

    `candidate` and `champion` are (N, C) over the same classes; `predicted`, the answers of either where they are not the
    most probable class. Metrics that either does not have are left out.
    """
    ours, theirs = score(candidate, truth, predicted[0]), score(champion, truth, predicted[1])
    points = {
        name: value - other for name, value in ours.items() if value is not None and (other := theirs[name]) is not None
    }
    if not points:
        return {}
    mine, other_draws = _draws([judge(candidate, truth, predicted[0]), judge(champion, truth, predicted[1])], seed)
    found = {
        name: (points[name], *percentiles(mine[name] - other_draws[name], confidence, points[name])) for name in mine
    }
    if "auroc" in points:
        influence = auroc(candidate, truth)[1] - auroc(champion, truth)[1]
        found["auroc"] = (points["auroc"], *_normal(points["auroc"], influence, confidence))
    return found


def wilson(correct: int, rows: int, confidence: float = CONFIDENCE) -> Interval | None:
    """The Wilson score interval of a share (Wilson 1927), honest also for few rows and for shares of 0 and 1."""
    if rows == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = correct / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * ((share * (1 - share) + z * z / (4 * rows)) / rows) ** 0.5 / (1 + z * z / rows)
    # At the ends the formula gives them but for rounding.
    return 0.0 if correct == 0 else max(centre - half, 0.0), 1.0 if correct == rows else min(centre + half, 1.0)


def _draws(models: list[Judged], seed: int) -> list[dict[str, Floats]]:
    """For each model, metric to its values (RESAMPLES,) on the same resamples."""
    rows = len(models[0].truth)
    blocks: list[list[dict[str, Floats]]] = [[] for _ in models]
    for chosen in resamples(rows, seed):
        for judged, collected in zip(models, blocks, strict=True):
            collected.append(_figures(judged, chosen))
    return [{name: np.concatenate([block[name] for block in found]) for name in found[0]} for found in blocks]


def resamples(rows: int, seed: int) -> Iterator[Indices]:
    """Blocks of row indices (R, N), RESAMPLES in all."""
    generator = np.random.default_rng(seed)
    step = max(_BLOCK_ROWS // rows, 1)
    for start in range(0, RESAMPLES, step):
        yield generator.integers(0, rows, size=(min(step, RESAMPLES - start), rows))


def _figures(judged: Judged, chosen: Indices) -> dict[str, Floats]:
    """Metric to its value (R,) on each of R resamples (R, N)."""
    resamples, rows = chosen.shape
    classes = judged.classes
    shift = np.arange(resamples)[:, None]

    def count(values: Indices, bins: int, weights: Floats | None = None) -> NDArray[Any]:
        """(R, bins) how often each of the values (N,) is on each resample, or the sum of its rows' weights (N,)."""
        cells = (values[chosen] + shift * bins).ravel()
        picked = None if weights is None else weights[chosen].ravel()
        return np.bincount(cells, weights=picked, minlength=resamples * bins).reshape(resamples, bins)

    # Rows answered wrongly are counted in one more class, which is then cut off.
    hits = count(np.where(judged.correct, judged.truth, classes), classes + 1)[:, :classes]
    gaps = count(judged.bins, ECE_BINS, judged.correct - judged.confidence)
    return {
        "accuracy": hits.sum(axis=1) / rows,
        **macro_figures(hits, count(judged.truth, classes), count(judged.predicted, classes)),
        "ece": np.abs(gaps).sum(axis=1) / rows,
    }


def percentiles(draws: Floats, confidence: float, point: float) -> Interval:
    """The interval of a figure from its draws; it always contains the figure."""
    # Centred on the point: a resample's ECE is biased upwards (noise widens every bin's gap), and the macro figures of
    # many small classes downwards (a resample misses some of them).
    low, high = np.quantile(draws - draws.mean() + point, [(1 - confidence) / 2, (1 + confidence) / 2])
    return min(float(low), point), max(float(high), point)


def _normal(point: float, influence: Floats, confidence: float) -> Interval:
    error = float(np.sqrt(np.square(influence).sum())) / len(influence)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return point - half, point + half
