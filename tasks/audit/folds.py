"""Which rows are evaluated together: folds that hold the classes in equal shares and keep rows that belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.errors import DataError

Indices = NDArray[np.int64]


def assign_folds(given: Indices, clusters: Indices, folds: int, seed: int) -> Indices:
    """(N,) the fold of each row: classes in about equal shares, no cluster in two.

    DataError where there are fewer clusters than folds, or some fold would leave a class without rows to learn from.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    count = len(np.unique(clusters))
    if count < folds:
        raise DataError(
            f"audit: the {len(given)} train and val rows come in {count} groups, and audit.folds={folds} needs as many as "
            f"folds; set audit.folds to at most {max(count, 2)}"
            + ("" if count > 1 else ": one group cannot be divided; map another column with data.columns.group")
        )
    found = np.zeros(len(given), np.int64)
    divided = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(given, given, clusters)
    for fold, (_, held_out) in enumerate(divided):
        found[held_out] = fold
    return found


def inner_split(given: Indices, clusters: Indices, seed: int) -> tuple[Indices, Indices]:
    """Positions of the rows that are fitted, and of those by which the regularisation is chosen (about a fifth)."""
    count = min(5, len(np.unique(clusters)))
    if count < 2:
        return np.arange(len(given)), np.arange(len(given))
    folds = assign_folds(given, clusters, count, seed)
    return np.flatnonzero(folds != 0), np.flatnonzero(folds == 0)
