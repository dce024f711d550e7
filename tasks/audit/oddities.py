"""Rows that are odd in other ways than by their label, and groups of rows that are answered worse than the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.audit import Conflict, GroupFigures
from tasks.audit.circumstances import Circumstance
from tasks.problems.scoring import holm

NEIGHBOURS = 10
REFERENCES = 5_000
"""Rows among which neighbours are looked for: of more, so many are drawn."""
FAR_OUT = 3.0
"""Ranges between the quartiles beyond the upper one from which on a distance is an outlier (Tukey, 1977: "far out")."""
MIN_ROWS = 20
"""Of a group, and of the rest, without which it is not tested."""
_BLOCK = 1024
Floats = NDArray[np.floating]
Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]


def outlyingness(vectors: NDArray[np.float32], present: Flags, seed: int) -> tuple[NDArray[np.float64], Flags]:
    """(N,) mean distance to the nearest neighbours, in medians of it, NaN where absent; and (N,) which are far out.

    Kuan and Mueller (2022), "Back to the Basics": distances to neighbours find what is unlike the rest as well as
    elaborate methods.
    """
    found, flagged = np.full(len(vectors), np.nan), np.zeros(len(vectors), bool)
    rows = np.flatnonzero(present)
    if len(rows) <= 2 * NEIGHBOURS:
        return found, flagged
    drawn = rows if len(rows) <= REFERENCES else np.random.default_rng(seed).choice(rows, REFERENCES, replace=False)
    references = vectors[drawn].astype(np.float64)
    lengths = (references**2).sum(axis=1)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        asked = vectors[block].astype(np.float64)
        squares = (asked**2).sum(axis=1)[:, None] + lengths - 2 * asked @ references.T
        squares[block[:, None] == drawn[None, :]] = np.inf  # not its own neighbour
        nearest = np.partition(np.maximum(squares, 0), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        found[block] = np.sqrt(nearest).mean(axis=1)
    known = found[rows]
    low, middle, high = np.percentile(known, [25, 50, 75])
    found[rows] = known / (middle or 1.0)
    flagged[rows] = known > high + FAR_OUT * max(high - low, 1e-9 * max(high, 1.0))
    return found, flagged


def disagreeing(
    views: Mapping[str, NDArray[np.float64]], thresholds: Mapping[str, Floats]
) -> tuple[Flags, NDArray[np.float64]]:
    """(N,) rows of which two inputs are confident of different classes, and (N,) by how much: the lower of the two
    probabilities. An input is confident of a class at its threshold (confident learning)."""
    rows = len(next(iter(views.values())))
    strength = np.zeros(rows)
    sure = {}
    for name, probabilities in views.items():
        filled = np.nan_to_num(probabilities, nan=0.0)
        likely = filled.argmax(axis=1)
        top = filled[np.arange(rows), likely]
        sure[name] = likely, np.where(top >= thresholds[name][likely], top, 0.0)
    names = list(sure)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            (first, p), (second, q) = sure[one], sure[other]
            strength = np.maximum(strength, np.where(first != second, np.minimum(p, q), 0.0))
    return strength > 0, strength


def conflicts(near: Mapping[str, int], labels: Mapping[str, str]) -> list[Conflict]:
    """Clusters of near duplicates whose rows have different labels, the largest first. `labels`: id to label."""
    clusters: dict[int, list[str]] = defaultdict(list)
    for each, cluster in near.items():
        if each in labels:
            clusters[cluster].append(each)
    found = [
        Conflict(ids=tuple(sorted(ids)), labels=tuple(sorted({labels[each] for each in ids})))
        for ids in clusters.values()
        if len({labels[each] for each in ids}) > 1
    ]
    return sorted(found, key=lambda each: (-len(each.ids), each.ids))


def underperforming(
    groups: Sequence[Circumstance], labels: Sequence[str], given: Indices, wrong: Flags, alpha: float
) -> list[GroupFigures]:
    """Groups, classes among them, of which more rows are answered wrongly than of the others (Fisher's exact test, Holm)."""
    from scipy.stats import hypergeom

    named = [*groups, Circumstance("label", given, tuple(labels))]
    found = []
    for each in named:
        for code, value in enumerate(each.values):
            inside = each.codes == code
            rows, others = int(inside.sum()), int((~inside).sum())
            if min(rows, others) < MIN_ROWS:
                continue
            errors = int(wrong[inside].sum())
            p = float(hypergeom.sf(errors - 1, len(wrong), int(wrong.sum()), rows))
            error, rest = errors / rows, float(wrong[~inside].mean())
            found.append(GroupFigures(name=f"{each.name} = {value}", rows=rows, error=error, rest=rest, p=p))
    adjusted = holm([each.p for each in found])
    corrected = [each.model_copy(update={"p": p}) for each, p in zip(found, adjusted, strict=True)]
    return sorted(
        (each for each in corrected if each.p <= alpha and each.error > each.rest), key=lambda each: (each.p, each.name)
    )


def ambiguity(pool: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of (folds, M, C) probabilities: the mean (M, C), the margin between its two highest (M,), and BALD (M,) in nats.

    Houlsby et al. (2011): the entropy of the mean minus the mean entropy is what the models disagree about.
    """
    mean = pool.mean(axis=0)
    top = np.sort(mean, axis=1)[:, ::-1]
    bald = _entropy(mean) - _entropy(pool).mean(axis=0)
    return mean, top[:, 0] - top[:, 1], np.maximum(bald, 0.0)


def _entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=-1))
