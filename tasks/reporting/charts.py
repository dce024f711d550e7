"""What the report draws, as numbers: the template turns them into inline SVG and tables. Pure Python.

Drawn by the browser and not by matplotlib: labels in any script find a font, text can be selected and searched, nothing
must be embedded, and a report costs no two seconds of imports.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict, TypeGuard

from data_contracts.data_profile import Histogram
from data_contracts.eval_detail import CalibrationBin
from tasks.number_format import short_number

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 38


Point = tuple[float, float]
"""Pixels from the left and from the top edge."""
Ticks = list[tuple[float, str]]
"""Pixels along an axis, and what stands there."""


class Line(TypedDict):
    """One line of a chart."""

    name: str
    colour: str
    points: list[Point]
    path: str


class CurveChart(TypedDict):
    """Lines over epochs."""

    lines: list[Line]
    y_ticks: Ticks
    x_ticks: Ticks
    x: Callable[[float], float]


class Bar(TypedDict):
    """One bar of a histogram, and what it says when it is pointed at."""

    x: float
    width: float
    y: float
    height: float
    says: str


class CalibrationBar(TypedDict):
    """A bin of confidence: the bar, and the gap between its accuracy and its mean confidence."""

    x: float
    width: float
    y: float
    low_y: float
    height: float
    gap_y: float
    gap: float
    strength: float
    count: int
    confidence: float
    accuracy: float


class CalibrationChart(TypedDict):
    """Accuracy over confidence."""

    bars: list[CalibrationBar]
    diagonal: tuple[float, float, float, float]
    y_ticks: Ticks
    x_ticks: Ticks


class SizeChart(TypedDict):
    """A small histogram with its ends and its median as text."""

    bars: list[Bar]
    low: str
    median: str
    high: str


def curve_chart(
    epochs: Sequence[Mapping[str, float | None]], series: Sequence[tuple[str, str, str]]
) -> CurveChart | None:
    """Lines over epochs. `series`: (key of an epoch, name, colour class). None where fewer than one value is known."""
    places = [int(epoch["epoch"] or 0) for epoch in epochs]
    known = {
        (name, colour): [
            (place, value) for place, e in zip(places, epochs, strict=True) if _is_number(value := e.get(key))
        ]
        for key, name, colour in series
    }
    values = [value for line in known.values() for _, value in line]
    if not values:
        return None
    ticks = nice_ticks(min(values), max(values))
    first, last = places[0], places[-1]

    def x(epoch: float) -> float:
        """Pixels from the left edge."""
        return _scale(epoch, first, max(last, first + 1), LEFT, WIDTH - RIGHT)

    def y(value: float) -> float:
        """Pixels from the top edge."""
        return _scale(value, ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)

    lines: list[Line] = []
    for (name, colour), line in known.items():
        points = [(x(place), y(value)) for place, value in line]
        if points:
            lines.append({"name": name, "colour": colour, "points": points, "path": path_of(points)})
    return {
        "lines": lines,
        "y_ticks": [(y(tick), short_number(tick)) for tick in ticks],
        "x_ticks": [(x(tick), str(tick)) for tick in _integer_ticks(first, last)],
        "x": x,
    }


def calibration_chart(bins: Sequence[CalibrationBin]) -> CalibrationChart:
    """Per confidence bin: its accuracy, the gap to its mean confidence, and how many rows stand behind it."""
    most = max((b.count for b in bins), default=0) or 1

    def x(value: float) -> float:
        """Pixels from the left edge of a share."""
        return _scale(value, 0, 1, LEFT, WIDTH - RIGHT)

    def y(value: float) -> float:
        """Pixels from the top edge of a share."""
        return _scale(value, 0, 1, HEIGHT - BOTTOM, TOP)

    return {
        "bars": [
            {
                "x": x(b.low) + 1,
                "width": x(b.high) - x(b.low) - 2,
                "y": y(b.accuracy),
                "low_y": y(min(b.accuracy, b.confidence)),
                "height": y(0) - y(min(b.accuracy, b.confidence)),
                "gap_y": min(y(b.accuracy), y(b.confidence)),
                "gap": abs(y(b.accuracy) - y(b.confidence)),
                "strength": 0.35 + 0.65 * math.sqrt(b.count / most),
                "count": b.count,
                "confidence": b.confidence,
                "accuracy": b.accuracy,
            }
            for b in bins
            if b.accuracy is not None and b.confidence is not None
        ],
        "diagonal": (x(0), y(0), x(1), y(1)),
        "y_ticks": [(y(t / 4), f"{t * 25} %") for t in range(5)],
        "x_ticks": [(x(t / 4), f"{t * 25} %") for t in range(5)],
    }


def path_of(points: Sequence[Point]) -> str:
    """An SVG path through the points."""
    return " ".join(f"{'M' if i == 0 else 'L'}{px:.1f} {py:.1f}" for i, (px, py) in enumerate(points))


def size_chart(sizes: Histogram) -> SizeChart:
    """A histogram of equal bins from `low` to `high` as bars in a box of 200 x 56, and what stands below it."""
    counts = sizes["counts"]
    width, most = 200 / len(counts), max(counts)
    step = (sizes["high"] - sizes["low"]) / len(counts)
    edges = [short_number(sizes["low"] + place * step) for place in range(len(counts) + 1)]
    bars: list[Bar] = [
        {
            "x": place * width + 0.5,
            "width": width - 1,
            "y": 56 - 54 * count / most,
            "height": 54 * count / most,
            "says": f"{edges[place]} to {edges[place + 1]}: {count:,}",
        }
        for place, count in enumerate(counts)
    ]
    low, median, high = (short_number(value) for value in (sizes["low"], sizes["median"], sizes["high"]))
    return {"bars": bars, "low": low, "median": median, "high": high}


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values that enclose low and high."""
    span = high - low or abs(high) or 1.0
    raw = span / (count - 1)
    unit = 10 ** math.floor(math.log10(raw))
    step = unit * next(m for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _integer_ticks(first: int, last: int) -> list[int]:
    step = max(round(nice_ticks(0, max(last - first, 1), 8)[1]), 1)
    return sorted({first, *range(first - first % step + step, last + 1, step)})


def _scale(value: float, low: float, high: float, start: float, end: float) -> float:
    return start + (value - low) / (high - low) * (end - start)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
