"""Each closed interval by value: against the textbook's formula, at the ends of its scale, and one step beyond them."""

from __future__ import annotations

from math import atanh, exp, inf, log, sqrt, tanh

import numpy as np
import pytest
from scipy import stats

from tasks.problems.intervals import bounded_normal, effective_size, find_interval, mean_estimate, wilson
from tasks.problems.metric import Estimate, Interval, IntervalMethod

Z = 1.959964


def estimate(value: float, variance: float, rows: int = 100, **changes: float) -> Estimate:
    return Estimate(value, np.zeros(rows), variance, **({"freedom": inf} | changes))  # type: ignore[arg-type]


def interval(method: IntervalMethod, found: Estimate, confidence: float = 0.95) -> Interval:
    return find_interval(method, found, confidence) or (-1.0, -1.0)


@pytest.mark.parametrize("value", [-0.9, -0.3, 0.0, 0.5, 0.95])
def test_fisher_is_the_textbooks_interval_of_a_correlation(value: float) -> None:
    """Of N rows the variance is (1 - r^2)^2 / (N - 3), and the interval atanh r +- 1.96 / sqrt(N - 3)."""
    found = interval("fisher", estimate(value, (1 - value**2) ** 2 / 97))
    assert found == pytest.approx((tanh(atanh(value) - Z / sqrt(97)), tanh(atanh(value) + Z / sqrt(97))), abs=1e-6)


@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_fisher_at_the_ends_of_its_scale_starts_from_inside(end: float) -> None:
    """With 9 rows from 1 - 1 / 10, or from as far inside as the variance is worth: 9 times it, halved; never below 0.5."""
    for variance, start in ((0.01, 0.9), (0.04, 0.82), (1.0, 0.5)):
        half = Z * sqrt(variance) / (1 - start**2)
        low, high = interval("fisher", estimate(end, variance, 9))
        inner, outer = (low, high) if end > 0 else (-high, -low)
        assert inner == pytest.approx(tanh(atanh(start) - half), abs=1e-6)
        assert outer == 1.0
    just_inside = 1 - 1 / 10
    half = Z * 0.1 / (1 - just_inside**2)
    assert interval("fisher", estimate(just_inside, 0.01, 9))[0] == pytest.approx(
        tanh(atanh(just_inside) - half), abs=1e-6
    )


@pytest.mark.parametrize(("value", "freedom"), [(0.2, inf), (0.5, 5.0), (0.97, 12.0)])
def test_logit_is_the_delta_method_on_the_log_odds(value: float, freedom: float) -> None:
    quantile = float(stats.t.ppf(0.975, freedom))
    centre, half = log(value / (1 - value)), quantile * 0.02 / (value * (1 - value))
    expected = (1 / (1 + exp(half - centre)), 1 / (1 + exp(-half - centre)))
    assert interval("logit", estimate(value, 0.0004, freedom=freedom)) == pytest.approx(expected, abs=1e-6)


def test_logit_reaches_an_end_that_is_nearer_than_half_a_row() -> None:
    edge = 1 / 200
    for value, low, high in ((0.0, True, False), (edge / 2, True, False), (edge, False, False), (1.0, False, True)):
        found = interval("logit", estimate(value, 1e-6))
        assert (found[0] == 0.0, found[1] == 1.0) == (low, high), value
    inside, at_edge = interval("logit", estimate(0.0, 1e-6)), interval("logit", estimate(edge, 1e-6))
    assert inside[1] == pytest.approx(at_edge[1]), "below the edge the other end is that of the edge"
    assert interval("logit", estimate(0.6, 0.0004, bias=0.1))[0] == interval("logit", estimate(0.5, 0.0004))[0]
    assert interval("logit", estimate(0.5, 1e9)) == pytest.approx((0.0, 1.0)), "and no exponential is too large"


@pytest.mark.parametrize(("value", "freedom"), [(0.4, inf), (-2.0, 9.0), (0.99, inf)])
def test_log_rest_is_the_delta_method_on_the_logarithm(value: float, freedom: float) -> None:
    rest, quantile = 1 - value, float(stats.t.ppf(0.975, freedom))
    half = quantile * 0.005 / rest
    expected = (1 - rest * exp(half), 1 - rest * exp(-half))
    assert interval("log-rest", estimate(value, 0.000025, freedom=freedom)) == pytest.approx(expected, abs=1e-6)


def test_hall_is_halls_transformation() -> None:
    """Written out for four rows in five at 0 and one at 1, 50 rows: skewness 1.5 with the correction of a sample of 50."""
    values = np.array([0.0] * 40 + [1.0] * 10)
    skewness = 1.5 * sqrt(50 * 49) / 48
    a, t, error = skewness / sqrt(50), float(stats.t.ppf(0.975, 49)), values.std(ddof=1) / sqrt(50)
    undo = [3 / a * (np.cbrt(1 + a * (quantile - a / 6)) - 1) for quantile in (t, -t)]
    expected = (0.2 - error * undo[0], 0.2 - error * undo[1])
    assert interval("hall", mean_estimate(values)) == pytest.approx(expected, abs=1e-9)


def test_hall_root_is_the_root_of_the_interval_of_the_square() -> None:
    values = np.random.default_rng(0).exponential(size=60)
    mean, root = mean_estimate(values), sqrt(values.mean())
    of_root = Estimate(root, mean.influence / (2 * root), mean.variance / (2 * root) ** 2, freedom=mean.freedom)
    expected = tuple(sqrt(end) for end in interval("hall", mean))
    assert interval("hall-root", of_root) == pytest.approx(expected, abs=1e-9)


def test_root_mean_square_without_noise_and_at_its_bound() -> None:
    """Far from 0 the root of the noncentral chi-squared is normal around the root of the square less half its freedom."""
    scale, freedom, square = 0.0004 / 8, 8.0, 0.04
    centre = sqrt(square / scale - 3.5)
    expected = tuple(sqrt(((centre + side * Z) ** 2 - 3.5) * scale) for side in (-1, 1))
    found = interval("root-mean-square", estimate(0.2, 0.0004, freedom=freedom, square=square))
    assert found == pytest.approx(expected, abs=1e-6)
    low, high = interval("root-mean-square", estimate(0.0, 0.0004, freedom=freedom, square=0.0002))
    assert low == 0.0
    assert 0.01 < high < 0.04


def test_like_share_is_wilsons_interval_of_as_many_rows_as_the_variance_is_worth() -> None:
    rows, variance, share = 100, 0.0016, 0.8
    drawn = (share * rows + 1) / (rows + 2)
    effective = drawn * (1 - drawn) / variance
    quantile = float(stats.t.ppf(0.975, rows - 1))
    expected = wilson(share * effective, effective, quantile=quantile)
    assert interval("like-share", estimate(share, variance)) == pytest.approx(expected)
    assert interval("like-share", estimate(share + 0.05, variance, bias=0.05))[0] == pytest.approx(expected[0])  # type: ignore[index]


@pytest.mark.parametrize(
    ("correct", "rows", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_against_published_values(correct: float, rows: float, low: float, high: float) -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", and by hand."""
    assert wilson(correct, rows) == pytest.approx((low, high), abs=1e-4)


def test_no_rows_have_no_interval_and_an_interval_contains_its_figure() -> None:
    assert wilson(0, 0) is None
    assert find_interval("hall", estimate(0.5, 0.01, rows=4), 0.95) is None
    assert find_interval("hall", estimate(0.5, 0.01, rows=50, enough=False), 0.95) is None
    low, high = interval("like-share", estimate(0.8, 1e-9, bias=0.2))
    assert (low < 0.62, high) == (True, 0.8)


def test_kishs_number_of_rows_that_carry_a_mean() -> None:
    assert effective_size(np.array([0.0, 0.0, 3.0, -3.0, 3.0])) == pytest.approx(3.0)
    assert effective_size(np.zeros(4)) == 0.0


def test_a_bounded_mean_covers_as_often_as_it_says() -> None:
    """The draws around a mean whose interval contains it have just this chance."""
    draws = np.arange(-4.0, 6.0, 0.1)
    ends = [bounded_normal(seen, 0.9) for seen in draws]
    for mean in (0.45, 1.05, 1.55, 2.45):
        inside = np.array([low <= mean <= high for low, high in ends], float)
        assert float(stats.norm.pdf(draws - mean) @ inside) * 0.1 == pytest.approx(0.9, abs=0.02)
