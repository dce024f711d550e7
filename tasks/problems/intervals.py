"""Intervals of one figure, honest also for few rows: closed forms, each with the paper behind it.

Every one starts from an `Estimate`: the figure, each row's influence on it and its variance by the delta method, which is
smoothed, so that answers that are all right do not make a figure certain. benchmarks/coverage.py shows how often each
interval contains the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import atanh, copysign, exp, inf, sqrt, tanh
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from tasks.problems.metric import Estimate, Floats, Interval, IntervalMethod

CONFIDENCE = 0.95
MIN_ROWS = 5
"""Of fewer rows of a class, or beside the largest class, a figure has no interval: the rule of five, below which a count is
too skewed for an approximation (Cochran 1954). It counts rows, not mistakes: to leave out the sets with few mistakes would
leave those whose figures are worst. benchmarks/coverage.py shows that five do."""


_STEEP = 500.0
"""Beyond it an exponential may be too large for a number."""


def find_interval(method: IntervalMethod, estimate: Estimate, confidence: float) -> Interval | None:
    """The two-sided interval of a figure, which always contains it; None where there are too few rows for one."""
    if not estimate.enough or len(estimate.influence) < MIN_ROWS:
        return None
    low, high = _METHODS[method](estimate, confidence)
    return min(low, estimate.value), max(high, estimate.value)


def wilson(
    correct: float, rows: float, confidence: float = CONFIDENCE, quantile: float | None = None
) -> Interval | None:
    """The Wilson score interval of a share (Wilson 1927), honest also for few rows and for shares of 0 and 1. `quantile`: of
    another distribution than the normal one."""
    if rows == 0:
        return None
    z = normal_quantile(confidence) if quantile is None else quantile
    share = correct / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z * ((share * (1 - share) + z * z / (4 * rows)) / rows) ** 0.5 / (1 + z * z / rows)
    # At the ends the formula gives them but for rounding.
    return 0.0 if correct == 0 else max(centre - half, 0.0), 1.0 if correct == rows else min(centre + half, 1.0)


def normal_quantile(confidence: float) -> float:
    """1.96 of 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def effective_size(influence: Floats) -> float:
    """How many rows carry a mean: Kish's effective number, of squares. With m rows of one size among N of none, m."""
    squares = np.square(influence)
    total = float(np.square(squares).sum())
    return float(squares.sum()) ** 2 / total if total > 0 else 0.0


def tail_freedom(influence: Floats) -> float:
    """Degrees of freedom of the variance of a mean, by the kurtosis: N - 1 for normal rows, fewer where few rows vary."""
    effective = effective_size(influence)
    return max(2 * effective / max(1 - effective / len(influence), 1e-9), 2.0) if effective > 0 else 2.0


def mean_estimate(values: Floats, enough: bool = True) -> Estimate:
    """Of the mean of the rows' values (N,)."""
    rows, mean = len(values), float(values.mean())
    influence = values - mean
    variance = float(np.square(influence).sum()) / max(rows * (rows - 1), 1)
    return Estimate(mean, influence, variance, freedom=max(rows - 1, 1), enough=enough)


def _like_share(estimate: Estimate, confidence: float) -> Interval:
    """Wilson's interval of a share of as many rows as would make it as uncertain as the figure is (as in surveys of complex
    design: Korn & Graubard 1998; Franco et al. 2019)."""
    rows = len(estimate.influence)
    centre = min(max(estimate.value - estimate.bias, 0.0), 1.0)
    share = (centre * rows + 1) / (rows + 2)  # neither 0 nor 1, of which nothing varies
    effective = share * (1 - share) / estimate.variance
    return wilson(centre * effective, effective, confidence, _t_quantile(rows - 1, confidence)) or (0.0, 1.0)


def _logit(estimate: Estimate, confidence: float) -> Interval:
    """On the logit scale, with Student's t (Qin & Hotilovac 2008 compare it with others for the area under the curve). Of a
    figure nearer to 0 or 1 than half a row the interval reaches that end."""
    edge = 1 / (2 * len(estimate.influence))
    value = min(max(estimate.value - estimate.bias, edge), 1 - edge)
    half = _t_quantile(estimate.freedom, confidence) * sqrt(estimate.variance) / (value * (1 - value))
    low, high = (1 / (1 + (1 - value) / value * exp(min(max(shift, -_STEEP), _STEEP))) for shift in (half, -half))
    return 0.0 if estimate.value < edge else low, 1.0 if estimate.value > 1 - edge else high


def _fisher(estimate: Estimate, confidence: float) -> Interval:
    """On Fisher's z scale (Fisher 1915), for a correlation. At -1 and 1, where the scale has no end, from so far inside as its
    smoothed variance is worth: with a share p of mistakes 2 p, and the variance 4 p (1 - p) / N."""
    rows, value = len(estimate.influence), estimate.value
    if abs(value) > 1 - 1 / (rows + 1):
        value = copysign(max(1 - max(1 / (rows + 1), rows * estimate.variance / 2), 0.5), value)
    half = normal_quantile(confidence) * sqrt(estimate.variance) / (1 - value**2)
    return tanh(atanh(value) - half), tanh(atanh(value) + half)


def _hall(estimate: Estimate, confidence: float) -> Interval:
    """Of a mean of skewed values: Hall's monotone transformation of Student's statistic (Hall 1992, "On the removal of
    skewness by transformation")."""
    influence, rows = estimate.influence, len(estimate.influence)
    spread = float(np.square(influence).mean())
    if spread == 0:
        return estimate.value, estimate.value
    skewness = float((influence**3).mean()) / spread**1.5 * sqrt(rows * (rows - 1)) / (rows - 2)
    a = skewness / sqrt(rows)
    t, error = _t_quantile(estimate.freedom, confidence), sqrt(estimate.variance)

    def undo(quantile: float) -> float:
        """The value of Student's statistic that the transformation moves to a normal quantile."""
        return quantile if abs(a) < 1e-9 else float(3 / a * (np.cbrt(1 + a * (quantile - a / 6)) - 1))

    return estimate.value - error * undo(t), estimate.value - error * undo(-t)


def _hall_root(estimate: Estimate, confidence: float) -> Interval:
    """Of the root of a mean: that of the mean, its ends' roots."""
    twice = 2 * estimate.value
    square = replace(
        estimate,
        value=estimate.value**2,
        influence=estimate.influence * twice,
        variance=estimate.variance * twice**2,
    )
    low, high = _hall(square, confidence)
    return sqrt(max(low, 0.0)), sqrt(max(high, 0.0))


def _log_rest(estimate: Estimate, confidence: float) -> Interval:
    """On the logarithm's scale of what is missing to 1, with Student's t: the variance that is not explained."""
    rest = 1 - estimate.value
    if rest <= 0:
        return estimate.value, estimate.value
    half = _t_quantile(estimate.freedom, confidence) * sqrt(estimate.variance) / rest
    return 1 - rest * exp(min(half, _STEEP)), 1 - rest * exp(-half)


def _root_mean_square(estimate: Estimate, confidence: float) -> Interval:
    """Of gaps behind noise. The mean square of `freedom` of them is distributed as a noncentral chi-squared, whose root is
    about normal; the end at 0 is not passed, and the interval covers as often as it says there too (see `bounded_normal`)."""
    scale, room = estimate.variance / estimate.freedom, max(estimate.freedom - 1, 0.0) / 2
    if scale == 0:
        return estimate.value, estimate.value
    origin = sqrt(room)  # where the root lies without any gap
    ends = bounded_normal(sqrt(max(estimate.square / scale - room, 0.0)) - origin, confidence)
    low, high = (0.0 if end == 0 else sqrt(max((end + origin) ** 2 - room, 0.0) * scale) for end in ends)
    return low, high


def bounded_normal(seen: float, confidence: float) -> Interval:
    """The interval of a mean that is 0 or more, from one draw with deviation 1 around it, which may be below 0: that of
    Feldman & Cousins 1998, "Unified approach to the classical statistical analysis of small signals", sec. IV B."""
    z = normal_quantile(confidence)
    if seen <= NormalDist().inv_cdf(confidence):
        low = 0.0
    elif seen < 2 * z:
        low = _solve(lambda mean: mean + _reach(mean, confidence) - seen, 1e-9, z)
    else:
        low = seen - z
    if seen >= 0:
        return low, seen + z
    return low, _solve(lambda mean: (mean**2 - _reach(mean, confidence) ** 2) / (2 * mean) - seen, 1e-9, z)


def _reach(mean: float, confidence: float) -> float:
    """How far above a mean below `z` the draws lie that do not speak against it: those with the greatest likelihood beside
    that of the mean that would suit them best."""
    normal = NormalDist()

    def covered(reach: float) -> float:
        """The chance of these draws, less what it shall be."""
        return normal.cdf(reach) - normal.cdf((mean**2 - reach**2) / (2 * mean) - mean) - confidence

    return _solve(covered, normal.inv_cdf(confidence) - 1e-6, normal_quantile(confidence) + 1e-6)


def _solve(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0, between two places."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def _t_quantile(freedom: float, confidence: float) -> float:
    if freedom == inf:
        return normal_quantile(confidence)
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))


_METHODS: Mapping[IntervalMethod, Callable[[Estimate, float], Interval]] = MappingProxyType(
    {
        "like-share": _like_share,
        "logit": _logit,
        "fisher": _fisher,
        "hall": _hall,
        "hall-root": _hall_root,
        "log-rest": _log_rest,
        "root-mean-square": _root_mean_square,
    }
)
