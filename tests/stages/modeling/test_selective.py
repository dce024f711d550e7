"""The threshold for a stated risk: it keeps the risk as often as it says, and answers where it can."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from tasks.modeling.selective import NEVER, area_under_risk, risk_curve, risk_threshold, rows_needed, upper_bound


def draw(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated answers of a confidence from 0.5 to 1: the risk of a threshold t is (1 - t) / 2."""
    confidence = rng.uniform(0.5, 1, rows)
    return confidence, rng.random(rows) < confidence


def test_the_risk_is_kept_in_95_of_100_draws_and_most_that_may_be_is_answered() -> None:
    rng = np.random.default_rng(0)
    found = np.array([risk_threshold(*draw(1500, rng), max_risk=0.1) for _ in range(600)])
    too_low = (1 - found) / 2 > 0.1
    assert too_low.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)
    assert 0.8 < np.median(found) < 0.88  # the least that keeps the risk is 0.8


def test_the_bound_is_the_share_of_which_so_few_mistakes_are_seen_once_in_20_times() -> None:
    for mistakes, rows in ((0, 59), (3, 153), (7, 40)):
        assert binom.cdf(mistakes, rows, upper_bound(mistakes, rows)) == pytest.approx(0.05)
    assert upper_bound(5, 5) == 1


def test_rows_needed_are_the_fewest_that_show_it() -> None:
    assert [rows_needed(0.05, mistakes) for mistakes in range(4)] == [59, 93, 124, 153]
    assert upper_bound(0, 59) <= 0.05 < upper_bound(0, 58)
    assert rows_needed(0.01) == 299


@pytest.mark.parametrize(("rows", "found"), [(0, NEVER), (10, NEVER), (58, NEVER), (59, 0.0), (400, 0.0)])
def test_all_right_is_enough_from_so_many_rows_on(rows: int, found: float) -> None:
    assert risk_threshold(np.linspace(0.5, 0.9, rows), np.ones(rows, bool), 0.05) == found


def test_a_model_that_is_never_right_never_answers() -> None:
    assert risk_threshold(np.linspace(0.5, 1, 300), np.zeros(300, bool), 0.1) == NEVER


def test_wrong_rows_at_the_bottom_are_left_out() -> None:
    confidence = np.linspace(1, 0.5, 400)
    right = np.arange(400) < 300
    found = risk_threshold(confidence, right, 0.05)
    answered = confidence > found
    assert 290 <= answered.sum() <= 310
    assert upper_bound(int((~right[answered]).sum()), int(answered.sum())) <= 0.05


def test_rows_of_one_confidence_are_answered_together_or_not_at_all() -> None:
    confidence = np.repeat([0.9, 0.6], 200)
    assert risk_threshold(confidence, confidence > 0.7, 0.05) == 0.6
    assert risk_threshold(np.full(400, 1.0), np.ones(400, bool), 0.05) == 0.0
    # Of the 300 surest all are right, but they cannot be told from the 100 that are not.
    assert risk_threshold(np.full(400, 0.8), np.arange(400) < 300, 0.05) == NEVER


def test_the_curve_has_a_point_for_every_confidence_and_ends_with_all_rows() -> None:
    confidence = np.array([0.9, 0.6, 0.6, 0.8])
    right = np.array([True, False, True, False])
    assert risk_curve(confidence, right) == [(0.25, 0.0), (0.5, 0.5), (1.0, 0.5)]
    longer = risk_curve(np.linspace(0, 1, 5000), np.arange(5000) % 2 == 0)
    assert len(longer) <= 200
    assert longer[-1] == (1.0, 0.5)


def test_the_area_under_the_risk_coverage_curve_by_hand() -> None:
    """Surest first right, wrong, right, wrong: risks 0, 1/2, 1/3, 1/2. Equals are as wrong as all of them."""
    right = np.array([True, False, True, False])
    assert area_under_risk(np.array([0.9, 0.8, 0.7, 0.6]), right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert area_under_risk(np.full(4, 0.5), right) == pytest.approx(0.5)
    assert area_under_risk(np.array([0.9, 0.5, 0.5, 0.1]), right) == pytest.approx((0 + 1 / 4 + 1 / 3 + 1 / 2) / 4)
