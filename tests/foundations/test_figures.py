"""Figures as text: never fewer digits than it takes to tell what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.number_format import short_number
from tasks.problems.registry import figure_text, get_metric


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


SHARE = 7 / 13  # 0.5384615384615384


@pytest.mark.parametrize(
    ("value", "other", "texts"),
    [
        (SHARE, SHARE, ("0.538", "0.538")),
        (0.20004, 0.2, ("0.20004", "0.200")),
        (0.5401, 0.5399, ("0.5401", "0.540")),
        (0.53999, 0.5396, ("0.540", "0.5396")),
        (0.9, 0.2, ("0.900", "0.200")),
    ],
)
def test_two_figures_are_shown_on_the_sides_on_which_they_are(
    value: float, other: float, texts: tuple[str, str]
) -> None:
    (text,), base = get_metric("accuracy").texts([value], other)
    assert (text, base) == texts


@given(st.floats(0, 1), st.floats(0, 1), st.integers(-3, 3), st.sampled_from(["accuracy", "mae"]))
def test_no_two_figures_are_shown_as_what_they_are_not(value: float, other: float, steps: int, name: str) -> None:
    near = other + steps * 1e-4
    texts, base = get_metric(name).texts([value, near, other], other)
    assert texts[-1] == base
    for figure, text in zip((value, near), texts, strict=False):
        if abs(figure - other) > 1e-12:
            assert (float(text) > float(base)) == (figure > other)
            assert (float(text) < float(base)) == (figure < other)
