"""The pictures of a comparison, as numbers: differences with their intervals, ranks with what is alike, and score against cost.

One column of rows each, with a variant's name above its line: so they are read on a phone as on a screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypedDict

from data_contracts.comparison import CompareReport, FitCost, VariantRecord
from tasks.number_format import short_number
from tasks.problems.registry import get_metric
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Ticks, nice_ticks

ROW, AXIS = 36, 30
"""Pixels of a variant's row, and of the axis below all of them."""
EDGE, GUTTER, STEP = 10, 12, 10
"""Pixels left of the axis, and right of it where nothing else is; between the bars that join what is alike."""
COSTS: dict[str, Callable[[FitCost], float | None]] = {
    "seconds of training": lambda cost: cost.train_s,
    "parameters": lambda cost: cost.parameters,
    "joules of training": lambda cost: cost.energy_j,
}


class Row(TypedDict):
    """A variant's line."""

    name: str
    number: int
    says: str
    y: float
    x: float
    low: float
    high: float
    tone: str
    """better, worse, open (apart from 0, but not after Holm) or same."""


class RowPicture(TypedDict):
    """Lines of variants above one axis."""

    rows: list[Row]
    height: float
    axis: float
    """Pixels from the top edge to the axis."""
    level: float | None
    """Pixels from the left edge of the reference."""
    ticks: Ticks
    right: float
    """Where the axis ends."""
    bars: list[tuple[float, float, float, str]]
    """x, y of both ends, and what it says: variants that are alike."""


class Mark(TypedDict):
    """A variant's point."""

    x: float
    y: float
    number: int
    tone: str
    says: str


class CostPicture(TypedDict):
    """Score against one cost, on a logarithmic scale."""

    name: str
    marks: list[Mark]
    x_ticks: Ticks
    y_ticks: Ticks


def tone_of(variant: VariantRecord) -> str:
    """The colour class of a variant's conclusion."""
    tones = {"better": "better", "worse": "worse", "not after Holm": "open"}
    return "reference" if variant.difference is None else tones.get(str(variant.conclusion), "same")


def numbers_of(report: CompareReport) -> dict[str, int]:
    """Variant to its number in the table, from 1."""
    return {variant.name: number for number, variant in enumerate(report.variants, start=1)}


def difference_picture(report: CompareReport, text: Callable[[VariantRecord], str]) -> RowPicture:
    """Every variant minus the reference, with its interval; `text` says a difference."""
    numbers = numbers_of(report)
    shown = [(variant, variant.difference) for variant in report.variants if variant.difference is not None]
    ends = [0.0, *(end for _, found in shown for end in (found.low, found.high))]
    ticks = nice_ticks(min(ends), max(ends))
    x = _scale(ticks[0], ticks[-1], EDGE, WIDTH - GUTTER)
    rows: list[Row] = [
        {
            "name": variant.name,
            "number": numbers[variant.name],
            "says": text(variant),
            "y": place * ROW + 25,
            "x": x(found.value),
            "low": x(found.low),
            "high": x(found.high),
            "tone": tone_of(variant),
        }
        for place, (variant, found) in enumerate(shown)
    ]
    return _rows(
        rows,
        x(0.0),
        [(x(tick), short_number(tick, sign=tick != 0).replace("-", "−")) for tick in _thinned(ticks)],
        WIDTH - GUTTER,
        [],
    )


def rank_picture(report: CompareReport) -> RowPicture:
    """Every variant at its average rank, the best first; a bar at the right joins those that are alike."""
    numbers, alike = numbers_of(report), report.ranking.alike
    order = sorted(report.variants, key=lambda variant: variant.rank)
    right = WIDTH - GUTTER - STEP * len(alike)
    ticks = nice_ticks(order[0].rank, order[-1].rank if order[-1].rank > order[0].rank else order[0].rank + 1)
    x = _scale(ticks[0], ticks[-1], EDGE, right)
    rows: list[Row] = [
        {
            "name": variant.name,
            "number": numbers[variant.name],
            "says": f"{variant.rank:.3f}",
            "y": place * ROW + 25,
            "x": x(variant.rank),
            "low": x(variant.rank),
            "high": x(variant.rank),
            "tone": tone_of(variant),
        }
        for place, variant in enumerate(order)
    ]
    y = {row["name"]: row["y"] for row in rows}
    bars: list[tuple[float, float, float, str]] = [
        (right + STEP * (place + 1), y[names[0]] - 6, y[names[-1]] + 6, f"alike: {', '.join(names)}")
        for place, names in enumerate(alike)
    ]
    return _rows(rows, None, [(x(tick), short_number(tick)) for tick in _thinned(ticks)], right, bars)


def _rows(
    rows: list[Row], level: float | None, ticks: Ticks, right: float, bars: list[tuple[float, float, float, str]]
) -> RowPicture:
    axis = len(rows) * ROW + 4
    return {
        "rows": rows,
        "height": axis + AXIS,
        "axis": axis,
        "level": level,
        "ticks": ticks,
        "right": right,
        "bars": bars,
    }


def cost_pictures(report: CompareReport) -> list[CostPicture]:
    """The mean score against each cost that is known of two variants at least."""
    found = [_cost_picture(name, cost, report) for name, cost in COSTS.items()]
    return [picture for picture in found if picture is not None]


def _cost_picture(name: str, cost: Callable[[FitCost], float | None], report: CompareReport) -> CostPicture | None:
    numbers = numbers_of(report)
    known = [(variant, value) for variant in report.variants if (value := cost(variant.cost)) is not None and value > 0]
    if len(known) < 2:
        return None
    powers = [math.log10(value) for _, value in known]
    first, last = math.floor(min(powers)), math.ceil(max(powers))
    last = last if last > first else first + 1
    x = _scale(first, last, LEFT + 8, WIDTH - RIGHT - 8)
    ticks = nice_ticks(min(variant.mean for variant, _ in known), max(variant.mean for variant, _ in known))
    y = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM - 6, TOP + 6)
    metric = get_metric(report.metric)
    marks: list[Mark] = [
        {
            "x": x(math.log10(value)),
            "y": y(variant.mean),
            "number": numbers[variant.name],
            "tone": tone_of(variant),
            "says": f"{variant.name}: {report.metric} {metric.text(variant.mean)}, {short_number(value)} {name}",
        }
        for variant, value in known
    ]
    return {
        "name": f"{metric.title} against {name}",
        "marks": _apart(marks),
        "x_ticks": [(x(power), short_number(10.0**power)) for power in range(first, last + 1)],
        "y_ticks": [(y(tick), short_number(tick)) for tick in ticks],
    }


def _apart(marks: list[Mark]) -> list[Mark]:
    """The reference last, so that it lies on top."""
    return sorted(marks, key=lambda mark: mark["tone"] == "reference")


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _thinned(ticks: Sequence[float]) -> list[float]:
    """So many that their texts do not touch."""
    return list(ticks[:: max(1, math.ceil(len(ticks) / 7))])
