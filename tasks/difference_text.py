"""A difference of two figures with its interval, as text."""

from __future__ import annotations

from tasks.problems.registry import figure_text


def difference_text(found: tuple[float, float, float], metric: str) -> str:
    """`+0.021 [−0.004, +0.046]` of value, low and high: with so many digits that none seems to lie on the other side of 0."""
    value, low, high = (figure_text(number, metric, sign=True, beside=0.0).replace("-", "−") for number in found)
    return f"{value} [{low}, {high}]"
