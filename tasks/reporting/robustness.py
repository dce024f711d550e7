"""What the report draws of corrupted test rows: a chart for each modality, a line for each corruption, over the severity."""

from __future__ import annotations

from typing import Any, NamedTuple

from data_contracts.refs import EvalReport
from data_contracts.slices import PartFigures, RobustnessCurve, SliceReport
from tasks.config import RunConfig
from tasks.problems.intervals import CONFIDENCE
from tasks.problems.metric import Interval, Metric
from tasks.problems.registry import figure_text, get_metric, get_problem
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, Ticks, nice_ticks, path_of

COLOURS = ("blue", "orange", "green")


class RobustnessLine(NamedTuple):
    """One corruption."""

    name: str
    colour: str
    path: str
    whiskers: list[tuple[float, float, float]]
    """x, and the y of either end of an interval."""


class RobustnessChart(NamedTuple):
    """One modality."""

    title: str
    rows: int
    lines: list[RobustnessLine]
    x_ticks: Ticks
    y_ticks: Ticks


class RobustnessRow(NamedTuple):
    """One corruption in the table."""

    corruption: str
    figures: list[tuple[float | None, Interval | None]]
    """By severity, as they are first."""


class RobustnessSection(NamedTuple):
    """All of them, by one metric."""

    metric: Metric[Any, Any]
    charts: list[RobustnessChart]
    rows: list[RobustnessRow]

    @property
    def has_intervals(self) -> bool:
        """Whether any figure has one."""
        return any(interval for row in self.rows for _, interval in row.figures)


def robustness_section(
    parts: SliceReport | None, report: EvalReport | None, config: RunConfig
) -> RobustnessSection | None:
    """By the metric of the gate, or where few rows of many classes leave it without intervals by that of the baseline; None
    where nothing was corrupted."""
    if parts is None or report is None or not parts.robustness:
        return None
    problem = get_problem(report.problem)
    name = problem.gate_metric if config.gate.metric == "auto" else config.gate.metric
    every = [part for curve in parts.robustness for part in curve.levels]
    if not any(_interval(part, name) for part in every):
        name = problem.baseline_metric
    modalities = dict.fromkeys(curve.corruption.partition("/")[0] for curve in parts.robustness)
    return RobustnessSection(
        metric=get_metric(name),
        charts=[
            _chart(modality, [each for each in parts.robustness if each.corruption.startswith(f"{modality}/")], name)
            for modality in modalities
        ],
        rows=[
            RobustnessRow(each.corruption, [(part.metrics.get(name), _interval(part, name)) for part in each.levels])
            for each in parts.robustness
        ],
    )


def _interval(part: PartFigures, name: str) -> Interval | None:
    return part.intervals.get(CONFIDENCE, {}).get(name)


def _chart(modality: str, curves: list[RobustnessCurve], name: str) -> RobustnessChart:
    every = [part for curve in curves for part in curve.levels]
    known = [
        value
        for part in every
        for value in (part.metrics.get(name), *(_interval(part, name) or ()))
        if value is not None
    ]
    ticks = nice_ticks(min(known, default=0.0), max(known, default=1.0))

    def place(severity: float, value: float) -> Point:
        """Pixels from the left and from the top edge."""
        x = LEFT + severity / (len(curves[0].levels) - 1) * (WIDTH - RIGHT - LEFT)
        return x, HEIGHT - BOTTOM - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT - BOTTOM - TOP)

    lines = []
    for number, curve in enumerate(curves):
        figures = [(severity, part.metrics.get(name)) for severity, part in enumerate(curve.levels)]
        points = [place(severity, value) for severity, value in figures if value is not None]
        aside = (number - (len(curves) - 1) / 2) * 3  # so that whiskers of several lines do not cover each other
        bounds = [(severity, _interval(part, name)) for severity, part in enumerate(curve.levels)]
        whiskers = [
            (place(severity, 0)[0] + aside, place(0, ends[0])[1], place(0, ends[1])[1])
            for severity, ends in bounds
            if ends is not None
        ]
        kind = curve.corruption.partition("/")[2]
        lines.append(RobustnessLine(kind, COLOURS[number % len(COLOURS)], path_of(points), whiskers))
    x_ticks = [
        (place(severity, 0)[0], str(severity) if severity else "as it is") for severity in range(len(curves[0].levels))
    ]
    y_ticks = [(place(0, tick)[1], figure_text(tick, name, decimals=2)) for tick in ticks]
    return RobustnessChart(modality, curves[0].levels[0].rows, lines, x_ticks, y_ticks)
