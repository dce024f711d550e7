"""Parts of the test rows on which a candidate is worse than another model: classes, rows by the modalities present, and
slices.

A figure over all rows hides a class that is lost: of 200 classes one is half a point. Each part with enough rows is tested by
itself, against chance alone, and the p-values are corrected for their number (Holm 1979), so that equal models are stopped
as seldom as the gate allows, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.slices import SliceRegression, SliceRegressions
from tasks.problems.metric import Floats, Indices
from tasks.problems.problem import group_rows
from tasks.problems.scoring import AnyScorer, Clusters, holm

SHOWN = 10
"""Parts that a report keeps, the most certain losses first."""
LOST_ROWS = 5
"""A class of which the other model answered so many rows rightly, and the candidate none of its rows, is lost: by chance
that is seen once in thousands of classes, and too few rows to pass a correction for hundreds of classes."""
_MOST_SUMS = 4_000
"""Larger sums of gains are normally distributed but for far less than any level of the gate."""
Values = Mapping[str, NDArray[Any]]
"""Slice to the value (N,) of each row in it."""
NO_SLICES: Values = MappingProxyType({})


@dataclass(frozen=True)
class Part:
    """Some of N rows on which two models are compared."""

    by: Literal["class", "modalities", "slice"]
    value: str
    rows: Indices
    gains: Floats
    """How much better each of them is answered."""
    lost: bool = False


def find_regressions(
    pair: tuple[AnyScorer, AnyScorer],
    labels: Sequence[str],
    present: NDArray[Any],
    clusters: Clusters,
    min_rows: int,
    slices: Values = NO_SLICES,
) -> SliceRegressions:
    """Where the first model of `pair` is worse than the second, on the same N rows. `present` (N,): modalities in a row."""
    ours, theirs = pair
    gains = ours.gains(theirs)
    parts = [*_classes(ours, theirs, labels), *_modality_sets(present, gains), *slice_parts(slices, gains)]
    found = measure_parts(parts, clusters, min_rows)
    found.sort(key=lambda part: (not part.lost, part.p, part.change))
    return SliceRegressions(
        parts=tuple(found[:SHOWN]),
        tested=len(found),
        too_small=len(parts) - len(found),
        min_rows=min_rows,
        columns=tuple(slices),
    )


def slice_parts(slices: Values, gains: Floats) -> Iterator[Part]:
    """Every value of every slice."""
    for name, values in slices.items():
        for value, rows in group_rows(values):
            yield Part("slice", f"{name}={value}", rows, gains[rows])


def measure_parts(parts: Iterable[Part], clusters: Clusters, min_rows: int) -> list[SliceRegression]:
    """Those parts that have enough rows, or are lost, with p-values corrected for their number."""
    found = [
        SliceRegression(
            by=part.by,
            value=part.value,
            rows=len(part.rows),
            change=float(part.gains.mean()),
            p=1.0
            if len(part.rows) < min_rows
            else chance_of_loss(part.gains, None if clusters is None else clusters[part.rows]),
            lost=part.lost,
        )
        for part in parts
        if len(part.rows) >= min_rows or part.lost
    ]
    adjusted = holm([loss.p for loss in found])
    return [loss.model_copy(update={"p": p}) for loss, p in zip(found, adjusted, strict=True)]


def _classes(ours: AnyScorer, theirs: AnyScorer, labels: Sequence[str]) -> Iterator[Part]:
    others = theirs.class_rows()
    for place, (rows, right) in ours.class_rows().items():
        before = others[place][1]
        lost = int(before.sum()) >= LOST_ROWS and not right.any()
        yield Part("class", labels[place], rows, right.astype(np.float64) - before, lost)


def _modality_sets(present: NDArray[Any], gains: Floats) -> Iterator[Part]:
    sets = group_rows(present)
    if len(sets) > 1:  # else it is all rows, which the gate's metric is about
        for value, rows in sets:
            yield Part("modalities", value, rows, gains[rows])


def chance_of_loss(gains: Floats, clusters: Clusters = None) -> float:
    """How likely so small a sum of gains (N,) is where both models are equal: each cluster's sum has either sign by chance.

    Exact for answers that are right or wrong (without clusters it is McNemar's test, one-sided), normal for large sums and
    for numbers.
    """
    sums = gains if clusters is None else np.bincount(clusters, gains)
    sums = sums[sums != 0]
    total, most = float(sums.sum()), float(np.abs(sums).sum())
    if not len(sums):
        return 1.0
    if most > _MOST_SUMS or (sums != np.round(sums)).any():
        from scipy.special import ndtr

        return float(ndtr(total / np.sqrt(np.square(sums).sum())))
    if (np.abs(sums) == 1).all():
        from scipy.special import bdtr

        return float(bdtr(int((sums > 0).sum()), len(sums), 0.5))
    chances = np.ones(1)  # of every count of points won, out of those that can be won
    for size in np.abs(sums).astype(np.int64):
        longer = np.zeros(len(chances) + size)
        longer[: len(chances)] += chances / 2
        longer[size:] += chances / 2
        chances = longer
    return float(min(chances[: round((total + most) / 2) + 1].sum(), 1.0))
