"""The page that shows two runs side by side: verdicts, figures paired on the same rows, settings, data, seconds.

One HTML file that names no external address. What it shows comes from users' data: jinja2 escapes every value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_contracts.run_record import RunRecord
from tasks.pages import page_template
from tasks.problems.registry import figure_text, get_metric
from tasks.reporting.charts import nice_ticks
from tasks.reporting.run_diff import Figure, RunDiff
from tasks.reporting.run_history import TONES
from tasks.store import replace_file

WIDTH, ROW = 640, 30
LEFT, RIGHT, TOP, BOTTOM = 150, 20, 8, 26


class Mark(NamedTuple):
    """A metric's difference with its interval, in pixels."""

    metric: str
    x: float
    low: float
    high: float
    y: float
    tone: str
    says: str


class DifferenceChart(NamedTuple):
    """Differences of the metrics that are shares, on one axis."""

    marks: list[Mark]
    ticks: list[tuple[float, str]]
    zero: float
    height: int


def write_run_comparison(path: Path, diff: RunDiff, a: RunRecord, b: RunRecord, links: Sequence[str | None]) -> None:
    """`path` holds the page, in one step. `links`: to the report of either run as seen from the page; None: it has none."""
    page = page_template(Path(__file__).with_name("run_comparison.html.j2"), ruled=_ruled, signed=_signed).render(
        diff=diff,
        runs=list(zip("ab", (a, b), links, strict=True)),
        tones=TONES,
        chart=draw_differences(diff.figures),
        finding=describe_differences(diff),
        width=WIDTH,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
    )
    replace_file(path, page.encode())


def tone_of(figure: Figure) -> str:
    """good: b is better, as the whole interval says; bad: worse; same: 0 lies within."""
    assert figure.difference is not None
    _, low, high = figure.difference
    if get_metric(figure.metric).lower_is_better:
        low, high = -high, -low
    return "good" if low > 0 else "bad" if high < 0 else "same"


def describe_differences(diff: RunDiff) -> str:
    """What the intervals say of b, in a sentence; why nothing can be said where there are none."""
    paired = [figure for figure in diff.figures if figure.difference is not None]
    if not paired:
        return f"The figures cannot be compared row by row: {diff.paired}."
    names = {tone: ", ".join(one.metric for one in paired if tone_of(one) == tone) for tone in ("good", "bad")}
    if not any(names.values()):
        return "No figure differs by more than chance: every interval of a difference contains 0."
    better, worse = (
        names[tone] and f"b is {word} in {names[tone]}" for tone, word in (("good", "better"), ("bad", "worse"))
    )
    rest = len(paired) - sum(tone_of(one) != "same" for one in paired)
    others = f"; the intervals of the other {rest} contain 0" if rest > 1 else ""
    return f"{' and '.join(part for part in (better, worse) if part)}{others}."


def draw_differences(figures: list[Figure]) -> DifferenceChart | None:
    """The differences of shares, None where there is none."""
    shown = [
        (one, one.difference)
        for one in figures
        if one.difference is not None
        and get_metric(one.metric).unit == "share"
        and all(map(math.isfinite, one.difference))
    ]
    if not shown:
        return None
    edges = [0.0, *(edge for _, found in shown for edge in found)]
    ticks = nice_ticks(min(edges), max(edges))

    def x_of(value: float) -> float:
        """Pixels from the left edge."""
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - ticks[0]) / (ticks[-1] - ticks[0])

    marks = [
        Mark(
            one.metric,
            *(x_of(found[0]), x_of(found[1]), x_of(found[2])),
            TOP + ROW * (place + 0.5),
            tone_of(one),
            f"{one.metric}: {_signed(found[0], one.metric)}, 95 % interval {_signed(found[1], one.metric)} to "
            f"{_signed(found[2], one.metric)}",
        )
        for place, (one, found) in enumerate(shown)
    ]
    texts = [(x_of(tick), f"{100 * tick:+g}".replace("-", "−") if tick else "0") for tick in ticks]
    return DifferenceChart(marks, texts, x_of(0.0), TOP + ROW * len(shown) + BOTTOM)


def _ruled(value: float | None, metric: str) -> str:
    return "–" if value is None else figure_text(value, metric)


def _signed(value: float, metric: str) -> str:
    return figure_text(value, metric, sign=True).replace("-", "−")
