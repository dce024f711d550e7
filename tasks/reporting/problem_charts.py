"""Charts and tables of the report for label columns that hold sets of labels or numbers, and for further label columns."""

from __future__ import annotations

from typing import Any

from data_contracts.refs import EvalReport, ProblemName
from tasks.number_format import short_number
from tasks.problems.registry import get_metric, get_problem
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, nice_ticks, path_of

COLOURS = ("blue", "orange", "green")


def column_tables(report: EvalReport | None) -> list[dict[str, Any]]:
    """The figures of every label column after the first, with their intervals."""
    found = []
    for column, figures in (report.metrics if report else {}).items():
        if column == "test":
            continue
        rows = [
            {
                "name": get_metric(name).title,
                "value": value,
                "interval": report.intervals.get(f"{column}.{name}") if report else None,
                "baseline": report.baselines.get(f"{column}.{name}") if report else None,
                "unit": get_metric(name).unit,
            }
            for name, value in figures.items()
        ]
        known = report.known_rows.get(column) if report else None
        found.append({"name": column, "rows": rows, "known": known})
    return found


def metric_table(rows: list[dict[str, Any]], problem: ProblemName) -> dict[str, Any]:
    """(name, n or None, values) of each row, for the metrics of a problem."""
    metrics = get_problem(problem).metrics
    return {
        "heads": [metric.title for metric in metrics],
        "rows": [
            (row["value"], row.get("n"), [(row.get(metric.name), metric.unit) for metric in metrics]) for row in rows
        ],
    }


def scatter_chart(points: list[list[float]]) -> dict[str, Any]:
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


def residual_chart(residuals: dict[str, Any]) -> dict[str, Any]:
    """How often the prediction was off by how much: predicted minus true."""
    counts, edges = residuals["counts"], residuals["edges"]
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


def precision_charts(curves: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Precision over recall, one small chart a label."""

    def place(recall: float, precision: float) -> tuple[float, float]:
        """Pixels from the left and from the top edge of two shares."""
        return LEFT + recall * (WIDTH - RIGHT - LEFT), HEIGHT - BOTTOM - precision * (HEIGHT - BOTTOM - TOP)

    ticks = [(place(t / 4, 0)[0], f"{t * 25} %") for t in range(5)]
    rows = [(place(0, t / 4)[1], f"{t * 25} %") for t in range(5)]
    return [
        {
            "label": curve["label"],
            "path": path_of([place(recall, precision) for recall, precision in curve["points"]]),
            "x_ticks": ticks,
            "y_ticks": rows,
        }
        for curve in curves
    ]
