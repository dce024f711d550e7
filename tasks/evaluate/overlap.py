"""Which test rows another model was trained on, and which rows belong together.

A comparison is fair on rows that neither model has seen, or both: a model that has seen a test row, or another of its group,
answers it better than it would answer a new one. Splits move (a group that is newly mapped, a split column drawn anew), so
today's test rows may be yesterday's train rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import InputName
from tasks.modeling.training_rows import are_known, contents_of, read_seen
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


def find_seen(
    samples: Samples,
    theirs: Samples,
    numbers: Indices,
    folder: Path,
    modalities: Sequence[InputName],
) -> NDArray[np.bool_]:
    """(N,) test rows that the published model in `folder` has seen and the candidate has not, by themselves (id or content) or
    by their cluster. What both have seen is as easy for both; that the candidate has, is known by clusters, so a row that is
    not tied to one of today's train rows is left out even where it repeats it. Without a candidate: what today's train and val
    rows do not tell.

    `samples` are today's N rows of all splits, `numbers` (N,) their clusters; `theirs` are the same as that model reads them.
    """
    seen, splits = read_seen(folder), np.array(samples.splits)
    learned, test = np.isin(splits, ("train", "val")), splits == "test"
    held = dict(zip(theirs.ids, contents_of(theirs, modalities), strict=True))
    contents = [held.get(name) for name in samples.ids]
    known = are_known(samples.ids, seen.ids) | are_known(contents, seen.contents)
    of_group = are_known(samples.groups, seen.groups) if "group" in samples.names else np.zeros(len(samples), bool)
    count = int(numbers.max(initial=-1)) + 1
    theirs_seen = np.bincount(numbers, known | of_group, count) > 0
    ours_seen = np.bincount(numbers, learned, count) > 0
    repeated = {content for content, own in zip(contents, learned, strict=True) if own and content is not None}
    itself = known & np.array([content not in repeated for content in contents], bool)
    by_cluster = (theirs_seen & ~ours_seen)[numbers]
    return np.asarray(test & (itself | by_cluster))
