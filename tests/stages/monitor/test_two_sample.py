"""Two-sample tests against values that are known, and p-values that are uniform where there is no difference."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.monitor.two_sample import (
    compare_categories,
    compare_numbers,
    compare_vectors,
    pairwise_distances,
    permutation_p,
)
from tasks.problems.scoring import holm


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_holm_multiplies_by_the_number_of_hypotheses_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # p.adjust(..., "holm") in R
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_kolmogorov_smirnov_of_separate_and_of_equal_samples() -> None:
    low, high = np.arange(50.0), np.arange(50.0) + 100
    assert compare_numbers(low, low) == (1.0, 0.0)
    apart = compare_numbers(low, high)
    assert apart.effect == 1.0
    assert apart.p < 1e-12
    half = compare_numbers(np.arange(100.0), np.concatenate([np.arange(50.0), np.full(50, 1000.0)]))
    assert half.effect == pytest.approx(0.5)


def test_chi_square_of_a_table_from_a_textbook() -> None:
    # Fisher's 2 x 2 in large: 30 of 100 against 50 of 100; chi-square 8.3333 without Yates, p 0.003892.
    found = compare_categories({"yes": 30, "no": 70}, {"yes": 50, "no": 50}, rng())
    assert found.p == pytest.approx(0.003892, abs=1e-5)
    assert found.effect == pytest.approx(0.2)


def test_a_sparse_table_is_judged_by_permutation_like_fishers_exact_test() -> None:
    # The lady tasting tea: 3 of 4 against 1 of 4. Two-sided exact p = 34 / 70.
    found = compare_categories({"milk": 3, "tea": 1}, {"milk": 1, "tea": 3}, rng())
    assert found.p == pytest.approx(34 / 70, abs=0.04)
    assert found.effect == pytest.approx(0.5)


def test_a_category_that_is_new_counts_and_one_that_is_alone_cannot_differ() -> None:
    new = compare_categories({"a": 500}, {"a": 400, "b": 100}, rng())
    assert new.p < 1e-6
    assert new.effect == pytest.approx(0.2)
    assert compare_categories({"a": 30}, {"a": 70}, rng()) == (1.0, 0.0)


def test_the_energy_effect_of_two_far_points_is_all_there_is() -> None:
    found = compare_vectors(np.zeros((30, 2)), np.full((30, 2), 5.0), rng())
    assert found.effect == pytest.approx(1.0)
    assert found.p == pytest.approx(1 / 2000)


def test_distances_are_those_of_pythagoras() -> None:
    assert pairwise_distances(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0.0, 5.0], [5.0, 0.0]]


def test_equal_rows_everywhere_are_no_difference() -> None:
    assert compare_vectors(np.ones((25, 3)), np.ones((25, 3)), rng()) == (1.0, 0.0)


def test_the_observed_dealing_is_one_of_those_counted() -> None:
    assert permutation_p(5.0, np.array([1.0, 2.0, 3.0])) == 0.25
    assert permutation_p(0.0, np.array([1.0, 2.0, 3.0])) == 1.0


def test_permutation_p_values_are_uniform_where_there_is_no_difference() -> None:
    """Counted: of 200 p-values of equal distributions about a tenth lie in each tenth, and few below 0.05."""
    p_values = []
    for seed in range(200):
        draws = rng(seed).normal(size=(50, 3))
        p_values.append(compare_vectors(draws[:25], draws[25:], rng(1000 + seed)).p)
    counts, _ = np.histogram(p_values, bins=5, range=(0, 1))
    assert counts.min() >= 20  # 40 expected; 20 is 3.5 standard deviations below
    assert counts.max() <= 60
    assert sum(p <= 0.05 for p in p_values) <= 20  # 10 expected


def test_a_moved_mean_is_found_and_the_same_seed_gives_the_same_p() -> None:
    draws = rng().normal(size=(300, 8))
    moved = draws[150:] + 0.5
    first = compare_vectors(draws[:150], moved, rng(1))
    assert first.p == pytest.approx(1 / 2000)
    assert first == compare_vectors(draws[:150], moved, rng(1))
