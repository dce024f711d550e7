"""Charts and tables of the report for label columns that hold sets of labels or numbers, and for further label columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from data_contracts.eval_detail import PrecisionRecallCurve, Residuals
from data_contracts.refs import EvalReport, Metrics, ProblemName
from tasks.number_format import short_number
from tasks.problems.registry import get_metric, get_problem
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Bar, Ticks, nice_ticks, path_of


class FigureLine(NamedTuple):
    """One figure of a further label column."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    baseline: float | None
    """What one and the same answer to every row scores."""
    unit: str


class ColumnTable(NamedTuple):
    """The figures of a further label column."""

    name: str
    rows: list[FigureLine]
    known: int | None
    """Test rows whose cell in it is filled."""


class MetricTable(TypedDict):
    """Figures of several sets of rows: (what they are, how many, (value, unit) of each head)."""

    heads: list[str]
    rows: list[tuple[str, int | None, list[tuple[float | None, str]]]]


class ScatterChart(TypedDict):
    """Predicted numbers over true ones."""

    points: list[tuple[float, float]]
    diagonal: tuple[float, float, float, float]
    x_ticks: Ticks
    y_ticks: Ticks


class ResidualChart(TypedDict):
    """Bars of predicted minus true."""

    bars: list[Bar]
    x_ticks: Ticks
    y_ticks: Ticks


class PrecisionChart(TypedDict):
    """Precision over recall of one label."""

    label: str
    path: str
    x_ticks: Ticks
    y_ticks: Ticks


def column_tables(report: EvalReport) -> list[ColumnTable]:
    """The figures of every label column after the first, with their intervals."""
    found = []
    for column, figures in report.metrics.items():
        if column == "test":
            continue
        rows = [
            FigureLine(
                name=get_metric(name).title,
                value=value,
                interval=report.intervals.get(f"{column}.{name}"),
                baseline=report.baselines.get(f"{column}.{name}"),
                unit=get_metric(name).unit,
            )
            for name, value in figures.items()
        ]
        found.append(ColumnTable(column, rows, report.known_rows.get(column)))
    return found


def metric_table(rows: Sequence[tuple[str, int | None, Metrics]], problem: ProblemName) -> MetricTable:
    """(name, n or None, figures) of each row, for the metrics of a problem."""
    metrics = get_problem(problem).metrics
    return {
        "heads": [metric.title for metric in metrics],
        "rows": [
            (name, n, [(figures.get(metric.name), metric.unit) for metric in metrics]) for name, n, figures in rows
        ],
    }


def scatter_chart(points: Sequence[tuple[float, float]]) -> ScatterChart:
    """True numbers across, predicted ones up, on one scale, with the line on which both agree."""
    values = [value for point in points for value in point]
    ticks = nice_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        """Pixels from the left edge."""
        return LEFT + (value - low) / (high - low) * (WIDTH - RIGHT - LEFT)

    def y(value: float) -> float:
        """Pixels from the top edge."""
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    return {
        "points": [(x(true), y(text)) for true, text in points],
        "diagonal": (x(low), y(low), x(high), y(high)),
        "x_ticks": [(x(tick), short_number(tick)) for tick in ticks],
        "y_ticks": [(y(tick), short_number(tick)) for tick in ticks],
    }


def residual_chart(residuals: Residuals) -> ResidualChart:
    """How often the prediction was off by how much: predicted minus true."""
    counts, edges = residuals.counts, residuals.edges
    span, most = float(edges[-1] - edges[0]) or 1.0, max(counts) or 1
    ticks, rows = nice_ticks(edges[0], edges[-1]), nice_ticks(0, most)

    def x(value: float) -> float:
        """Pixels from the left edge of a residual."""
        return LEFT + (value - float(edges[0])) / span * (WIDTH - RIGHT - LEFT)

    def y(count: float) -> float:
        """Pixels from the top edge of a number of rows."""
        return HEIGHT - BOTTOM - count / rows[-1] * (HEIGHT - BOTTOM - TOP)

    return {
        "bars": [
            {
                "x": x(low) + 0.5,
                "width": max(x(high) - x(low) - 1, 0.5),
                "y": y(count),
                "height": y(0) - y(count),
                "says": f"{short_number(low)} to {short_number(high)}: {count:,} rows",
            }
            for count, low, high in zip(counts, edges, edges[1:], strict=False)
        ],
        "x_ticks": [(x(tick), short_number(tick)) for tick in ticks if edges[0] <= tick <= edges[-1]],
        "y_ticks": [(y(tick), short_number(tick)) for tick in rows],
    }


def precision_charts(curves: Sequence[PrecisionRecallCurve]) -> list[PrecisionChart]:
    """Precision over recall, one small chart a label."""

    def place(recall: float, precision: float) -> tuple[float, float]:
        """Pixels from the left and from the top edge of two shares."""
        return LEFT + recall * (WIDTH - RIGHT - LEFT), HEIGHT - BOTTOM - precision * (HEIGHT - BOTTOM - TOP)

    ticks = [(place(t / 4, 0)[0], f"{t * 25} %") for t in range(5)]
    rows = [(place(0, t / 4)[1], f"{t * 25} %") for t in range(5)]
    return [
        {
            "label": curve.label,
            "path": path_of([place(recall, precision) for recall, precision in curve.points]),
            "x_ticks": ticks,
            "y_ticks": rows,
        }
        for curve in curves
    ]
