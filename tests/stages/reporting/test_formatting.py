"""How differences are written on the pages."""

from __future__ import annotations

from tasks.reporting.formatting import change, points


def test_a_difference_that_rounds_to_nothing_has_no_minus_sign() -> None:
    assert (points(-0.0001), points(-0.25), change(-0.0001, "share"), change(0.429, "share")) == (
        "+0.0",
        "−25.0",
        "+0.0",
        "+42.9",
    )
