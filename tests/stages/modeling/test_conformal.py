"""Quantiles with the correction for few rows: their level is kept exactly, neither one rank too high nor too low."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.modeling.conformal import (
    energy,
    outlier_threshold,
    prediction_sets,
    residual_quantile,
    rows_needed,
    set_threshold,
)

DRAWS = 6000


def kept(rows: int, alpha: float, side: str) -> float:
    """How often a new row is within the promise of so many validation rows, over many draws."""
    rng = np.random.default_rng(rows)
    values, fresh = rng.random((DRAWS, rows)), rng.random(DRAWS)
    if side == "set":
        thresholds = np.array([set_threshold(row, alpha) for row in values])
        return float((fresh >= thresholds).mean())
    if side == "interval":
        widths = np.array([residual_quantile(row - 0.5, alpha) for row in values])
        return float((np.abs(fresh - 0.5) <= widths).mean())
    lowest = np.array([outlier_threshold(row, alpha) for row in values])
    return float((fresh >= lowest).mean())


@pytest.mark.parametrize("side", ["set", "interval", "outlier"])
@pytest.mark.parametrize(
    ("rows", "alpha", "exact"),
    [(9, 0.1, 0.9), (19, 0.1, 0.9), (24, 0.1, 23 / 25), (40, 0.2, 33 / 41)],
)
def test_a_new_row_is_within_as_often_as_promised(side: str, rows: int, alpha: float, exact: float) -> None:
    # The exact chance is a rank over n + 1; a rank more or less would be 2 to 10 points off.
    assert kept(rows, alpha, side) == pytest.approx(exact, abs=0.013)


def test_too_few_rows_promise_nothing() -> None:
    values = np.linspace(0.1, 0.9, 8)
    assert [set_threshold(values, 0.1), residual_quantile(values, 0.1), outlier_threshold(values, 0.1)] == [None] * 3
    nine = np.linspace(0.1, 0.9, 9)
    assert [set_threshold(nine, 0.1), residual_quantile(nine, 0.1), outlier_threshold(nine, 0.1)] == [0.1, 0.9, 0.1]
    assert [set_threshold(values[:0], 0.1), outlier_threshold(values[:0], 0.1)] == [None, None]
    assert [rows_needed(alpha) for alpha in (0.5, 0.2, 0.1, 0.05, 0.01)] == [1, 4, 9, 19, 99]


def test_a_set_holds_the_classes_from_the_threshold_on_and_the_answer() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.9, 0.06, 0.04]], np.float32)
    found = prediction_sets(shares, float(np.float32(0.3)), np.array([0, 2, 1]))
    assert found.tolist() == [[True, True, False], [True, True, True], [True, True, False]]
    assert prediction_sets(shares, 0.95, np.array([0, 0, 0])).sum() == 3


def test_equal_probabilities_are_covered_together() -> None:
    threshold = set_threshold(np.array([0.9] * 10 + [0.5] * 9), 0.5)
    assert threshold == 0.9


def test_the_energy_is_that_of_the_papers() -> None:
    logits = np.array([[1.0, 2.0, -1.0], [1000.0, 0.0, 0.0]], np.float32)
    assert energy(logits, excluding=True) == pytest.approx([np.log(np.exp([1, 2, -1]).sum()), 1000.0])
    assert energy(logits, excluding=False) == pytest.approx([np.log1p(np.exp([1, 2, -1])).sum(), 1000 + 2 * np.log(2)])
