"""Which rows belong together, so that they count as one where an interval or a standard error is taken. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tasks.problems.metric import Indices
from tasks.samples import Samples


def number_clusters(samples: Samples, near: Mapping[str, int]) -> Indices:
    """(N,) rows of one group, or nearly repeating each other, or tied by a chain of both, have one number; from 0, no gaps."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ties: dict[tuple[str, str | int], list[int]] = {}
    groups: Sequence[str | None] = samples.groups if "group" in samples.names else [None] * len(samples)
    for row, (name, group) in enumerate(zip(samples.ids, groups, strict=True)):
        if group is not None:
            ties.setdefault(("group", group), []).append(row)
        if name in near:
            ties.setdefault(("near", near[name]), []).append(row)
    pairs = np.array([(rows[0], row) for rows in ties.values() for row in rows[1:]], np.int64).reshape(-1, 2)
    size = len(samples)
    joined = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    return np.asarray(connected_components(joined, directed=False)[1], np.int64)


def clusters_of(rows: Indices, numbers: Indices) -> Indices | None:
    """The clusters of some rows, numbered without gaps; None where each row is one of its own."""
    _, found = np.unique(numbers[rows], return_inverse=True)
    return None if len(found) == 0 or int(found.max()) + 1 == len(found) else found.astype(np.int64)
