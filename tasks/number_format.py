"""Numbers as text: short for people, and the shortest that reads as the same number."""

from __future__ import annotations

from datetime import UTC, datetime


def short_number(value: float, sign: bool = False, digits: int = 4) -> str:
    """A number of any size to so many digits; of a larger one the whole part is kept: 123456.789 is `123457`."""
    plus = "+" if sign else ""
    return f"{value:{plus}.0f}" if 10 ** (digits - 1) <= abs(value) < 1e15 else f"{value:{plus}.{digits}g}"


def number_text(value: float) -> str:
    """The shortest text that reads as the same number; 7.0 is `7`."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def p_text(p: float | None) -> str:
    """`0.031`, `< 0.001`, a dash where nothing was tested."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def utc_text(at_ms: int) -> str:
    """A time in milliseconds since 1970: `2026-12-09 03:00` in UTC."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"
