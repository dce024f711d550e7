"""The page of a model's history: figures with their intervals over its runs, rows, seconds, verdicts, links to the reports.

One HTML file that names no external address. What it shows comes from users' data: jinja2 escapes every value, and
characters that a browser would act on or hide are spelled out, as in the report of a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypedDict

from pydantic import BaseModel

from data_contracts.refs import Metrics
from data_contracts.run_record import RunRecord
from tasks.pages import page_template
from tasks.problems.registry import figure_text, get_metric, problem_with
from tasks.store import replace_file

MAX_RUNS = 60
"""Runs that the charts show, the newest; the table shows all."""
CHARTS = 2
"""Metrics that are shown: the first ones of the problem. A run's report has all of them."""
WIDTH, HEIGHT = 440, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 30
TONES = {
    **dict.fromkeys(("promote", "passed", "no drift"), "good"),
    **dict.fromkeys(("reject", "failed", "crashed", "not trainable"), "bad"),
    **dict.fromkeys(("unchanged", "running", "completed"), "same"),
}
"""How a verdict is coloured; another one is open."""


class RunPoint(BaseModel, frozen=True):
    """One run of the model."""

    run: str
    started: datetime
    verdict: str
    """The gate's, or failed, crashed, running."""
    reason: str = ""
    version: str | None = None
    metrics: Metrics = {}
    intervals: dict[str, tuple[float, float]] = {}
    rows: dict[str, int] = {}
    splits: dict[str, int] = {}
    seconds: dict[str, float] = {}
    report: str | None = None
    """Link to the run's report, as seen from the page."""


def point_of(record: RunRecord, report: str | None) -> RunPoint:
    """A run as the page shows it; `report` is the link to its report."""
    verdict, reason = record.verdict or record.status, record.reason or ""
    shown = record.model_dump(
        include={"run", "started", "version", "metrics", "intervals", "rows", "splits", "seconds"}
    )
    return RunPoint(verdict=verdict, reason=reason, report=report, **shown)


class Mark(NamedTuple):
    """One run in a chart, in pixels."""

    x: float
    y: float
    low: float | None
    high: float | None
    tone: str
    title: str


class Chart(NamedTuple):
    """A metric over the runs."""

    metric: str
    better: str
    ticks: list[tuple[float, str]]
    dates: list[tuple[float, str, str]]
    """x, anchor, text."""
    marks: list[Mark]
    line: str
    """Of the promoted ones, as points of a polyline."""


class SecondsBar(TypedDict):
    """How long one run took."""

    x: float
    y: float
    width: float
    height: float
    title: str
    total: float


def write_history(path: Path, model: str, points: Sequence[RunPoint]) -> None:
    """`path` holds the page of these runs, oldest first, in one step."""
    shown = list(points[-MAX_RUNS:])
    columns = _columns(points)
    page = page_template(Path(__file__).with_name("run_history.html.j2"), ruled=_ruled).render(
        model=model,
        points=list(reversed(points)),
        columns=columns,
        charts=[chart for metric in columns if (chart := draw_metric(metric, shown)) is not None],
        bars=draw_seconds(shown),
        counts=_counts(points),
        tones=TONES,
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        floor=HEIGHT - BOTTOM,
        left_out=len(points) - len(shown),
    )
    replace_file(path, page.encode())


def _ruled(value: float | None, metric: str) -> str:
    """A figure, None a dash."""
    return "–" if value is None else figure_text(value, metric)


def _columns(points: Sequence[RunPoint]) -> tuple[str, ...]:
    """The metrics of the newest run that has any: those of its problem."""
    found = next((point.metrics for point in reversed(points) if point.metrics), {})
    return tuple(metric.name for metric in problem_with(found).metrics[:CHARTS]) if found else ()


def _counts(points: Sequence[RunPoint]) -> list[tuple[str, int]]:
    verdicts = [point.verdict for point in points]
    return [(verdict, verdicts.count(verdict)) for verdict in dict.fromkeys(reversed(verdicts))]


def draw_metric(metric: str, points: Sequence[RunPoint]) -> Chart | None:
    """A metric over the runs that have it; None where none has. Runs without it keep their place on the axis."""
    known = [
        (place, point, value)
        for place, point in enumerate(points)
        if (value := point.metrics.get(metric)) is not None and math.isfinite(value)
    ]
    if not known:
        return None
    ends = [end for _, point, value in known for end in (value, *point.intervals.get(metric, ()))]
    low, high = _padded(min(ends), max(ends))

    def y_of(value: float) -> float:
        """Pixels from the top edge."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    marks = []
    for place, point, value in known:
        interval = point.intervals.get(metric)
        low_y, high_y = (None, None) if interval is None else (y_of(interval[0]), y_of(interval[1]))
        text = f"{point.started:%Y-%m-%d %H:%M} {point.verdict}: {metric} {figure_text(value, metric)}"
        tone = TONES.get(point.verdict, "open")
        marks.append(Mark(_x_of(place, len(points)), y_of(value), low_y, high_y, tone, text))
    promoted = [mark for mark, (_, point, _) in zip(marks, known, strict=True) if point.verdict == "promote"]
    return Chart(
        metric,
        "lower is better" if get_metric(metric).lower_is_better else "higher is better",
        [(y_of(tick), figure_text(tick, metric)) for tick in (low, (low + high) / 2, high)],
        _dates(points),
        marks,
        " ".join(f"{mark.x:.1f},{mark.y:.1f}" for mark in promoted),
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    """A range somewhat wider than the values, and never empty."""
    margin = 0.08 * (high - low) or 0.02 * abs(high) or 0.01
    return low - margin, high + margin


def _x_of(place: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count


def _dates(points: Sequence[RunPoint]) -> list[tuple[float, str, str]]:
    first, last = points[0].started, points[-1].started
    shown = [(float(LEFT), "start", f"{first:%Y-%m-%d}")]
    return shown if len(points) == 1 else [*shown, (float(WIDTH - RIGHT), "end", f"{last:%Y-%m-%d}")]


def draw_seconds(points: Sequence[RunPoint]) -> list[SecondsBar]:
    """One bar a run, as high as it took long."""
    most = max((point.seconds.get("total", 0.0) for point in points), default=0.0) or 1.0
    width = min(24.0, 0.7 * (WIDTH - LEFT - RIGHT) / max(1, len(points)))
    bars: list[SecondsBar] = []
    for place, point in enumerate(points):
        total = point.seconds.get("total", 0.0)
        height = (HEIGHT - TOP - BOTTOM) * total / most
        stages = ", ".join(f"{name} {value:.1f}" for name, value in point.seconds.items() if value >= 0.05)
        bars.append(
            {
                "x": _x_of(place, len(points)) - width / 2,
                "y": HEIGHT - BOTTOM - height,
                "width": width,
                "height": height,
                "title": f"{point.started:%Y-%m-%d %H:%M}: {total:.1f} s ({stages})",
                "total": total,
            }
        )
    return bars
