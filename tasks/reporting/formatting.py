"""How figures and names are written on the pages: shares in percent, numbers in the user's unit, a dash for what is unknown."""

from __future__ import annotations

from tasks.escaping import visible
from tasks.number_format import short_number
from tasks.problems.registry import figure_text


def shorten(text: str, longest: int = 20) -> str:
    """A text with its middle left out where it is long: names often differ only at their end."""
    shown = visible(text)
    half = (longest - 1) // 2
    return shown if len(shown) <= longest else f"{shown[:half]}…{shown[-half:]}"


def percent(value: float | None, digits: int = 1) -> str:
    """`0.9125` becomes `91.3 %`, None a dash; what is nearly all is not rounded to all: `99.98 %`."""
    if value is None:
        return "–"
    text = f"{100 * value:.{digits}f}"
    return f"{100 * value:.{digits + 2}f} %" if float(text) == 100 and value < 1 - 1e-6 else f"{text} %"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    return "–" if value is None else f"{100 * value:+z.1f}".replace("-", "−")


def figure(value: float | None, unit: str) -> str:
    """A share in percent, a number in the user's unit with four digits."""
    if unit == "share" or value is None:
        return percent(value)
    return short_number(value).replace("-", "−")


def change(value: float, unit: str) -> str:
    """A difference, with its sign."""
    return points(value) if unit == "share" else short_number(value, sign=True).replace("-", "−")


def ruled(value: float | None, metric: str) -> str:
    """A figure of the gate's table, None a dash."""
    return "–" if value is None else figure_text(value, metric, decimals=4)


def seconds(value: float) -> str:
    """`75.3` becomes `1 min 15 s`."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
