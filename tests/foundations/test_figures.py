"""Figures as text: never fewer digits than it takes to tell what they say."""

from __future__ import annotations

import pytest

from tasks.number_format import short_number
from tasks.problems.registry import figure_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.0004, "0.0004"), (0.00042137, "0.0004214"), (3.2e-9, "3.2e-09"), (12.34567, "12.35"),
        (999.96, "1000"), (9999.6, "10000"), (123456.789, "123457"), (-123456.789, "-123457"), (1e18, "1e+18"),
    ],
)  # fmt: skip
def test_a_number_of_any_size(value: float, text: str) -> None:
    assert short_number(value) == text


def test_shares_have_decimals_and_errors_digits() -> None:
    assert figure_text(0.9, "accuracy") == "0.900"
    assert figure_text(0.9, "tone.accuracy", decimals=4) == "0.9000"
    assert figure_text(0.00042137, "size.mae") == "0.0004214"
    assert figure_text(-0.004, "macro_f1", sign=True) == "-0.004"
    assert figure_text(50.0, "rmse", sign=True) == "+50"


@pytest.mark.parametrize(
    ("value", "beside", "text"),
    [(0.89996, 0.9, "0.89996"), (0.9, 0.9, "0.900"), (0.9000000001, 0.9, "0.9000000001"), (0.5, 0.9, "0.500")],
)
def test_what_differs_is_told_apart(value: float, beside: float, text: str) -> None:
    assert figure_text(value, "accuracy", beside=beside) == text
