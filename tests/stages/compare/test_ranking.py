"""Ranks over rows and clusters, against scipy's own figures, and which variants are joined."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data_contracts.comparison import PairTest
from tasks.compare.paired import Measured, measure
from tasks.compare.ranking import alike_sets, rank_variants
from tasks.problems.multiclass_metrics import ClassScorer
from tasks.problems.registry import get_metric


def measured(name: str, *rights: np.ndarray) -> Measured:
    truth = np.arange(len(rights[0])) % 2
    made = [np.where(right, truth, 1 - truth) for right in rights]
    return measure(name, [ClassScorer(np.eye(2)[p], truth, p) for p in made], get_metric("accuracy"), 0, None)


def test_ranks_and_the_omnibus_test_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    rights = [rng.random(300) < share for share in (0.9, 0.87, 0.5)]
    ranks, ranking = rank_variants([measured(name, r) for name, r in zip("abc", rights, strict=True)], None, 0.05)
    errors = np.stack([~right for right in rights]).astype(float)
    assert [*ranks.values()] == pytest.approx(stats.rankdata(errors, axis=0).mean(axis=1).tolist())
    assert ranking.friedman_p == pytest.approx(stats.friedmanchisquare(*errors).pvalue)
    assert (ranking.block, ranking.blocks) == ("row", 300)
    assert [{*names} for names in ranking.alike] == [{"a", "b"}]
    worst = next(pair for pair in ranking.pairs if {pair.first, pair.second} == {"a", "c"})
    assert worst.p_holm <= 0.05


def test_a_block_is_a_cluster_where_rows_come_in_clusters_and_seeds_are_averaged() -> None:
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(10), 12)
    pair = [measured(name, *(rng.random(120) < 0.6 for _ in range(3))) for name in "ab"]
    ranks, ranking = rank_variants(pair, clusters, 0.05)
    assert (ranking.block, ranking.blocks, ranking.friedman_p) == ("cluster", 10, None)
    assert sum(ranks.values()) == pytest.approx(3)


def test_equal_models_share_a_rank_and_are_alike() -> None:
    right = np.arange(50) % 3 > 0
    ranks, ranking = rank_variants([measured(name, right) for name in "abc"], None, 0.05)
    assert {*ranks.values()} == {2.0}
    assert ranking.alike == (("a", "b", "c"),)
    assert ranking.friedman_p is None


def test_too_few_blocks_rank_but_test_nothing() -> None:
    _, ranking = rank_variants([measured(name, np.ones(5, bool)) for name in "ab"], None, 0.05)
    assert ranking.pairs == ()
    assert "too few" in str(ranking.note)


def test_a_bar_joins_only_runs_of_which_no_two_differ() -> None:
    def pair(first: str, second: str, p: float) -> PairTest:
        return PairTest(first=first, second=second, p=p, p_holm=p)

    pairs = [pair(*names, p=0.5) for names in ("ab", "bc", "cd", "bd")] + [
        pair(*names, p=0.01) for names in ("ac", "ad")
    ]
    assert alike_sets("abcd", pairs, 0.05) == [("a", "b"), ("b", "c", "d")]
    assert alike_sets("ad", pairs, 0.05) == []
