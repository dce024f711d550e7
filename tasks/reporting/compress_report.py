"""The report of smaller and faster versions of a model: one HTML file that holds everything it shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from data_contracts.compression import CompressReport, Difference, MethodResult
from data_contracts.run_summary import CompressSummary
from tasks.display_table import DisplayTable
from tasks.number_format import short_number
from tasks.pages import page_template
from tasks.problems.registry import figure_text, get_metric
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Ticks, nice_ticks
from tasks.store import replace_file

CALIBRATION = ("ece", "log_loss")
_MARGIN_LEFT = LEFT + 12
_CHARACTER = 7.0
"""Pixels of a name's letter, about."""


class Mark(TypedDict):
    """A model in a picture: a point, and the interval of its difference."""

    name: str
    x: float
    y: float
    low: float
    high: float
    label: float
    """Pixels from the top edge of its name."""
    tone: str
    anchor: str
    says: str


class Picture(TypedDict):
    """Points in a box of charts.WIDTH x charts.HEIGHT."""

    name: str
    marks: list[Mark]
    level: float
    """Pixels from the top edge of the original."""
    margin: float
    """The same of the loss that the gate allows."""
    x_ticks: Ticks
    y_ticks: Ticks
    x_title: str


def write_compress_page(path: Path, report: CompressReport) -> None:
    """`path` holds the report, in one step. Every value is escaped."""
    template = page_template(Path(__file__).with_name("compress_report.html.j2"))
    title, tone = conclude(report)
    measured = [each for each in report.results if each.state == "measured"]
    calibration = [name for name in CALIBRATION if any(each.metrics.get(name) is not None for each in measured)]
    page = template.render(
        report=report,
        title=title,
        tone=tone,
        score=get_metric(report.metric),
        before=_figure(report.metrics.get(report.metric), report.metric),
        measured=measured,
        rows=[_row(each, report, calibration) for each in measured],
        original=[_figure(report.metrics.get(name), name) for name in calibration],
        original_latency=next((each.latency for each in measured if each.latency), None),
        calibration=[get_metric(name).title for name in calibration],
        margin=figure_text(report.margin, report.metric, decimals=4),
        left_out=[each for each in report.results if each.state != "measured"],
        pruned=[each for each in measured if each.inputs],
        robust=[each for each in measured if each.robustness],
        pictures=pictures(report, measured),
        figure=lambda value: _figure(value, report.metric),
        interval=lambda found: _interval(found, report.metric),
        mb=lambda size: f"{size / 1e6:.3g}",
        box={"width": WIDTH, "height": HEIGHT, "left": _MARGIN_LEFT, "right": WIDTH - RIGHT, "bottom": HEIGHT - BOTTOM},
    )
    replace_file(path, page.encode())


def conclude(report: CompressReport) -> tuple[str, str]:
    """The page's heading and its tone."""
    if report.published is not None:
        return f"Published as version {report.published}", "good"
    if report.passing:
        ways = "1 way" if len(report.passing) == 1 else f"{len(report.passing)} ways"
        return f"{ways} to compress it pass{'es' if len(report.passing) == 1 else ''} the gate", "good"
    return "No compressed model passes the gate", "open"


def describe(report: CompressReport) -> str:
    """What came of it, as one line."""
    parts = []
    for each in report.results:
        if each.latency is None:
            continue
        found = each.differences.get(report.metric)
        smaller = report.smaller(each) or 0.0
        parts.append(
            f"{each.method} {smaller:.1f}x smaller, a row {each.latency.row_ratio:.1f}x as fast, {report.metric} "
            f"{'not compared' if found is None else _interval(found, report.metric)} ({each.decision})"
        )
    return "; ".join(parts) or "no method is possible"


def methods_table(found: CompressSummary) -> DisplayTable:
    """A line a method, for terminals and for Prefect."""
    return DisplayTable.of(
        {
            "method": name,
            "MB": None if each.size_bytes is None else f"{each.size_bytes / 1e6:.3g}",
            "smaller": _times(each.smaller),
            "row": _times(each.row_faster),
            "batch": _times(each.batch_faster),
            found.metric or "difference": None if each.difference is None else _interval(each.difference, found.metric),
            "gate": each.decision or f"not possible: {each.reason}",
        }
        for name, each in found.methods.items()
    )


def pictures(report: CompressReport, measured: Sequence[MethodResult]) -> list[Picture]:
    """The difference against the size, and against the time of one row; the original at 0. [] where nothing was compared."""
    known = [each for each in measured if report.metric in each.differences and each.latency and each.size_bytes]
    if not known:
        return []
    first = next(each.latency for each in known if each.latency)
    # A model was timed in turns with the original: its time is the first original's, divided by how many times faster it was.
    row_ms: dict[str, float] = {
        each.method: first.original_row_ms / each.latency.row_ratio for each in known if each.latency
    }
    mb: dict[str, float] = {each.method: (each.size_bytes or 0) / 1e6 for each in known}
    return [
        _picture("size", "MB of a release", report, known, mb, report.size_bytes / 1e6),
        _picture("time of one row", "milliseconds of one row", report, known, row_ms, first.original_row_ms),
    ]


def _picture(
    what: str,
    x_title: str,
    report: CompressReport,
    known: Sequence[MethodResult],
    costs: dict[str, float],
    original: float,
) -> Picture:
    differences = [each.differences[report.metric] for each in known]
    lower = get_metric(report.metric).lower_is_better
    margin = report.margin if lower else -report.margin
    # Above the original, room for names: where nothing is lost all points lie on one line.
    low = min(0.0, margin, *(d[1] for d in differences))
    high = max(0.0, margin, *(d[2] for d in differences))
    ticks = nice_ticks(low, high + 0.4 * (high - low))
    across = nice_ticks(0.0, max(original, *costs.values()))

    def x(value: float) -> float:
        """Pixels from the left edge."""
        return _MARGIN_LEFT + value / across[-1] * (WIDTH - RIGHT - _MARGIN_LEFT)

    def y(value: float) -> float:
        """Pixels from the top edge."""
        return HEIGHT - BOTTOM - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT - BOTTOM - TOP)

    def mark(name: str, cost: float, found: Difference, tone: str) -> Mark:
        """A model at its place, its name beside it, towards the middle."""
        value, low, high = map(y, found)
        return {
            "name": name,
            "x": x(cost),
            "y": value,
            "low": low,
            "high": high,
            "label": value,
            "tone": tone,
            "anchor": "end" if x(cost) > WIDTH * 0.7 else "start",
            "says": f"{name}: {cost:.3g} {x_title}"
            + (f", {_interval(found, report.metric)}" if tone != "same" else ""),
        }

    marks = [
        mark(each.method, costs[each.method], difference, "good" if each.decision == "promote" else "open")
        for each, difference in zip(known, differences, strict=True)
    ]
    return {
        "name": f"Difference in {get_metric(report.metric).phrase} against {what}",
        "marks": _spread([*marks, mark("original", original, (0.0, 0.0, 0.0), "same")]),
        "level": y(0),
        "margin": y(margin),
        "x_ticks": [(x(tick), short_number(tick)) for tick in across],
        "y_ticks": [(y(tick), short_number(tick)) for tick in ticks],
        "x_title": x_title,
    }


def _spread(marks: list[Mark]) -> list[Mark]:
    """The same marks, each with its name where no other name stands."""
    taken: list[tuple[float, float, float]] = []
    for mark in sorted(marks, key=lambda mark: -mark["y"]):
        length = _CHARACTER * len(mark["name"])
        left = mark["x"] + 8 if mark["anchor"] == "start" else mark["x"] - 8 - length
        label = mark["y"] - 8
        while any(abs(label - y) < 13 and left < end and start < left + length for start, end, y in taken):
            label -= 13
        taken.append((left, left + length, label))
        mark["label"] = label
    return marks


def _row(each: MethodResult, report: CompressReport, calibration: Sequence[str]) -> dict[str, object]:
    """A line of the table as texts."""
    found, latency = each.differences.get(report.metric), each.latency
    return {
        "name": each.method,
        "mb": f"{(each.size_bytes or 0) / 1e6:.3g}",
        "smaller": _times(report.smaller(each)),
        "row_ms": f"{latency.row_ms:.3g}" if latency else "–",
        "row": _times(latency.row_ratio if latency else None),
        "batch_ms": f"{latency.batch_ms:.3g}" if latency else "–",
        "batch": _times(latency.batch_ratio if latency else None),
        "value": _figure(each.metrics.get(report.metric), report.metric),
        "difference": "–" if found is None else _interval(found, report.metric),
        "calibration": [_figure(each.metrics.get(name), name) for name in calibration],
        "decision": each.decision,
        "reason": each.reason,
        "encoders": ", ".join(f"{name} {value:.2g}" for name, value in each.encoder_difference.items()),
        "published": report.published is not None and each.decision == "promote",
    }


def _times(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}×" if value < 10 else f"{value:.0f}×"


def _figure(value: float | None, metric: str) -> str:
    return "–" if value is None else figure_text(value, metric, decimals=4)


def _interval(found: Difference, metric: str) -> str:
    value, low, high = (figure_text(number, metric, sign=True, decimals=4).replace("-", "−") for number in found)
    return f"{value} [{low}, {high}]"
