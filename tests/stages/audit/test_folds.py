"""Folds: every row in one, classes in equal shares, no group and no near duplicates in two; and what is refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tasks.audit.folds import assign_folds, inner_split
from tasks.audit.rows import join_clusters, scored_classes
from tasks.errors import DataError


def test_no_cluster_is_in_two_folds_and_classes_are_shared_out() -> None:
    given = np.tile([0, 0, 1], 40)
    clusters = np.repeat(np.arange(30), 4)
    folds = assign_folds(given, clusters, 5, seed=0)
    assert all(len(set(folds[clusters == cluster])) == 1 for cluster in range(30))
    assert sorted(Counter(folds.tolist()).values()) == [24] * 5
    assert [int((given[folds == fold] == 1).sum()) for fold in range(5)] == [8] * 5
    assert (assign_folds(given, clusters, 5, seed=0) == folds).all()


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(DataError, match=r"come in 3 groups, and audit\.folds=5 .* set audit\.folds to at most 3$"):
        assign_folds(np.zeros(30, np.int64), np.repeat([0, 1, 2], 10), 5, seed=0)
    with pytest.raises(DataError, match=r"one group cannot be divided"):
        assign_folds(np.zeros(30, np.int64), np.zeros(30, np.int64), 5, seed=0)


def test_the_rows_by_which_the_regularisation_is_chosen_are_of_other_clusters() -> None:
    clusters = np.repeat(np.arange(20), 3)
    fitted, kept = inner_split(np.tile([0, 1, 1], 20), clusters, seed=1)
    assert set(clusters[fitted]).isdisjoint(clusters[kept])
    assert len(fitted) + len(kept) == 60
    assert len(kept) == 12


def test_clusters_are_joined_by_any_column() -> None:
    groups = ["a", "a", None, "b", None]
    near = [None, 7, 7, None, 8]
    assert join_clusters(groups, near).tolist() == [0, 0, 0, 1, 2]


def test_two_classes_with_five_rows_are_too_few() -> None:
    with pytest.raises(
        DataError, match=r"0 of 2 classes have the 10 train and val rows .*'a' 5, 'b' 5.*lower audit\.folds"
    ):
        scored_classes(Counter({"a": 5, "b": 5}), folds=5)
    assert scored_classes(Counter({"b": 5, "a": 4}), folds=2) == ["a", "b"]
    with pytest.raises(DataError, match=r"1 of 2 classes"):
        scored_classes(Counter({"a": 500, "b": 9}), folds=5)
