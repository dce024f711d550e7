"""Parts of the test rows on which a candidate is worse than another model: classes, and rows by the modalities present.

A figure over all rows hides a class that is lost: of 200 classes one is half a point. Each part with enough rows is tested by
itself, against chance alone, and the p-values are corrected for their number (Holm 1979), so that equal models are stopped
as seldom as the gate allows, whatever the number of classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Loss, Losses
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


def find_losses(
    pair: tuple[AnyScorer, AnyScorer],
    labels: Sequence[str],
    present: NDArray[Any],
    clusters: Clusters,
    min_rows: int,
) -> Losses:
    """Where the first model of `pair` is worse than the second, on the same N rows. `present` (N,): modalities in a row."""
    ours, theirs = pair
    gains = ours.gains(theirs)
    found: list[Loss] = []
    small = 0
    for by, value, rows, change, lost in _parts(ours, theirs, gains, labels, present):
        if len(rows) < min_rows and not lost:
            small += 1
            continue
        of_rows = None if clusters is None else clusters[rows]
        found.append(
            Loss(
                by=by,
                value=value,
                rows=len(rows),
                change=float(change.mean()),
                p=chance_of_loss(change, of_rows) if len(rows) >= min_rows else 1.0,
                lost=lost,
            )
        )
    adjusted = holm([loss.p for loss in found])
    parts = [loss.model_copy(update={"p": p}) for loss, p in zip(found, adjusted, strict=True)]
    parts.sort(key=lambda loss: (not loss.lost, loss.p, loss.change))
    return Losses(parts=tuple(parts[:SHOWN]), tested=len(parts), too_small=small, min_rows=min_rows)


def _parts(
    ours: AnyScorer, theirs: AnyScorer, gains: Floats, labels: Sequence[str], present: NDArray[Any]
) -> Iterator[tuple[Literal["class", "modalities"], str, Indices, Floats, bool]]:
    """Part, its rows, how much better each is answered, and whether a class is lost."""
    others = theirs.class_rows()
    for place, (rows, right) in ours.class_rows().items():
        before = others[place][1]
        lost = int(before.sum()) >= LOST_ROWS and not right.any()
        yield "class", labels[place], rows, right.astype(np.float64) - before, lost
    sets = group_rows(present)
    if len(sets) > 1:  # else it is all rows, which the gate's metric is about
        for value, rows in sets:
            yield "modalities", value, rows, gains[rows], False


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
