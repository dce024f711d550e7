"""Figures of counts: their effects by value, and the variance that answers which are all right do not take away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tasks.problems.table_estimates import (
    Effects,
    Table,
    estimate_from,
    f1_effects,
    matthews_effects,
    precision_effects,
    recall_effects,
)

MIXED = Table(24, np.array([8.0, 3.0, 0.0]), np.array([12.0, 8.0, 4.0]), np.array([13.0, 6.0, 5.0]))
ONE = Table(9, np.array([9.0]), np.array([9.0]), np.array([9.0]))
SURE = Table(20, np.array([12.0, 8.0]), np.array([12.0, 8.0]), np.array([12.0, 8.0]))


def variance(found: Effects, table: Table) -> float:
    """What the rows' influence, of which there is none here, lacks: class by class, as the docstring of estimate_from says."""
    answers = found.by == "answers"
    own, other = (table.answers, table.support) if answers else (table.support, table.answers)
    moved = found.support if answers else found.answers
    overall, classes = (table.hits.sum() + 1) / (own.sum() + 2), np.count_nonzero(table.support + table.answers)
    total = 0.0
    for place, size in enumerate(own):
        share = table.hits[place] / size
        drawn = (table.hits[place] + overall + 2 / classes) / (size + 1 + 4 / classes)
        step = found.hits[place] + moved[place] - float(other @ moved) / other.sum()
        total += max(drawn * (1 - drawn) - share * (1 - share), 0.0) * size * step**2
    return total / table.rows**2


@pytest.mark.parametrize("effects", [recall_effects, precision_effects, f1_effects, matthews_effects])
@pytest.mark.parametrize("table", [MIXED, SURE, ONE])
def test_the_variance_is_never_less_than_one_more_row_would_make_it(
    effects: Callable[[Table], Effects], table: Table
) -> None:
    found = effects(table)
    estimate = estimate_from(effects, table, lambda _: np.zeros(table.rows))
    assert estimate.variance == pytest.approx(variance(found, table))
    influence = np.linspace(-1, 1, table.rows)
    more = estimate_from(effects, table, lambda _: influence)
    assert more.variance == pytest.approx(estimate.variance + np.square(influence).sum() / table.rows**2)
    assert (more.value, more.bias, more.enough) == (found.value, found.bias, found.least >= 5)


def test_shares_and_their_effects() -> None:
    recall, precision = recall_effects(MIXED), precision_effects(MIXED)
    assert recall.value == pytest.approx((8 / 12 + 3 / 8 + 0) / 3)
    assert precision.value == pytest.approx((8 / 13 + 3 / 6 + 0) / 3)
    assert (recall.by, precision.by) == ("support", "answers")
    assert (recall.least, precision.least) == (4.0, 4.0)
    assert recall.hits == pytest.approx(24 / np.array([12, 8, 4]) / 3)
    assert recall.support == pytest.approx(-np.array([8 / 12, 3 / 8, 0]) * 24 / np.array([12, 8, 4]) / 3)
    assert precision.answers == pytest.approx(-np.array([8 / 13, 3 / 6, 0]) * 24 / np.array([13, 6, 5]) / 3)
    assert recall.answers.tolist() == precision.support.tolist() == [0.0, 0.0, 0.0]


def test_f1_is_biased_by_its_bend() -> None:
    found = f1_effects(MIXED)
    shared = np.array([8 / 17, 3 / 11, 0.0])  # hits over rows that are of the class or answered with it
    bend = -2 * shared * (1 - shared) / (1 + shared) ** 3 / (np.array([17, 11, 9]) - 1)
    assert found.value == pytest.approx((16 / 25 + 6 / 14 + 0) / 3)
    assert found.bias == pytest.approx(bend.sum() / 3)
    assert found.support == pytest.approx(-np.array([16 / 25, 6 / 14, 0]) * 24 / np.array([25, 14, 9]) / 3)
    assert found.hits == pytest.approx(2 * 24 / np.array([25, 14, 9]) / 3)


def test_a_class_that_never_occurs_counts_for_nothing() -> None:
    more = Table(24, *(np.append(counts, 0.0) for counts in (MIXED.hits, MIXED.support, MIXED.answers)))
    for effects in (recall_effects, precision_effects, f1_effects):
        assert effects(more).value == pytest.approx(effects(MIXED).value)
        assert effects(more).least == effects(MIXED).least
        assert effects(more).hits[-1] == 0.0
    nothing = Table(0, np.zeros(2), np.zeros(2), np.zeros(2))
    assert (recall_effects(nothing).value, recall_effects(nothing).least) == (0.0, 0.0)


def test_the_correlation_of_one_class_is_nothing() -> None:
    found = matthews_effects(ONE)
    assert (found.value, found.least, found.hits.tolist()) == (0.0, 0, [0.0])
    assert matthews_effects(MIXED).least == 11, "24 rows, 13 of which are answered with the first class"
