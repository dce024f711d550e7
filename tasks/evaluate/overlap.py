"""Which test rows another model was trained on.

A comparison is fair on rows that neither model has seen, or both: a model that has seen a test row, or another of its group,
answers it better than it would answer a new one. Splits move (a group that is newly mapped, a split column drawn anew), so
today's test rows may be yesterday's train rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.refs import InputName
from tasks.modeling.training_rows import are_among, are_known, contents_of, digest_texts, read_seen
from tasks.problems.metric import Indices
from tasks.samples import Samples


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
    held = digest_texts(itertools.chain(contents_of(theirs, modalities), [None]))
    places = pc.index_in(samples.column("id"), value_set=theirs.column("id"))
    contents = held[np.asarray(places.fill_null(len(theirs)))]
    known = are_known(samples.ids, seen.ids) | are_among(contents, seen.contents)
    of_group = are_known(samples.groups, seen.groups) if "group" in samples.names else np.zeros(len(samples), bool)
    count = int(numbers.max(initial=-1)) + 1
    theirs_seen = np.bincount(numbers, known | of_group, count) > 0
    ours_seen = np.bincount(numbers, learned, count) > 0
    itself = known & ~are_among(contents, contents[learned])
    by_cluster = (theirs_seen & ~ours_seen)[numbers]
    return np.asarray(test & (itself | by_cluster))
