"""Figures as people read them: shares to three decimals or four, errors in the user's own unit to four digits or five."""

from __future__ import annotations

from datetime import UTC, datetime

OWN_UNIT = frozenset({"mae", "rmse"})
"""Metrics in the unit of the numbers to predict, which may be of any size."""
_MOST = 17
"""Digits that tell any two doubles apart."""


def figure_text(value: float, metric: str, sign: bool = False, beside: float | None = None, decimals: int = 3) -> str:
    """`0.900` for a share, `0.0004213` or `123457` for an error; of `column.metric` the metric counts.

    With `beside`, a number that the figure is compared with: as many more digits as it takes for the text to lie on the
    same side of it as the figure. So 0.89996 < 0.9 is not shown as 0.900 < 0.9.
    """
    own = metric.rpartition(".")[2] in OWN_UNIT
    text = ""
    for places in range(decimals, _MOST + 1):
        text = short_number(value, sign, places + 1) if own else f"{value:{'+' if sign else ''}.{places}f}"
        if beside is None or _side(float(text), beside) == _side(value, beside):
            break
    return text


def short_number(value: float, sign: bool = False, digits: int = 4) -> str:
    """A number of any size to so many digits; of a larger one the whole part is kept: 123456.789 is `123457`."""
    plus = "+" if sign else ""
    return f"{value:{plus}.0f}" if 10 ** (digits - 1) <= abs(value) < 1e15 else f"{value:{plus}.{digits}g}"


def p_text(p: float | None) -> str:
    """`0.031`, `< 0.001`, a dash where nothing was tested."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def utc_text(at_ms: int) -> str:
    """A time in milliseconds since 1970: `2026-12-09 03:00` in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _side(value: float, other: float) -> int:
    return (value > other) - (value < other)
