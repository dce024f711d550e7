"""Figures by slice as the report draws them: one table and its bars for each way to divide the rows, the worst value first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from data_contracts.refs import EvalReport
from data_contracts.slices import SliceBy, SliceFigures, SliceReport, SuspectedSlice
from tasks.config import RunConfig
from tasks.number_format import short_number
from tasks.problems.intervals import CONFIDENCE
from tasks.problems.metric import Metric
from tasks.problems.registry import get_metric, get_problem


class SliceRow(NamedTuple):
    """One value."""

    value: str
    rows: int
    clusters: int | None
    figure: float | None
    interval: tuple[float, float] | None
    second: float | None
    second_interval: tuple[float, float] | None
    change: float | None
    """Minus the champion's, on the rows that both answered."""
    p: float | None
    length: float
    """Of the bar, and of the ends of its interval, as shares of the track."""
    low: float | None
    high: float | None


class SliceTable(NamedTuple):
    """One way to divide the test rows."""

    title: str
    note: str
    rows: list[SliceRow]


class SliceSection(NamedTuple):
    """All of them, by one metric."""

    metric: Metric[Any, Any]
    second: Metric[Any, Any] | None
    """Beside it, as that of few rows and many classes has no interval: accuracy, say; None where it is the same."""
    whole: float | None
    place: float
    """Of the figure on all rows along the track, a share."""
    tables: list[SliceTable]
    champion: str | None
    has_clusters: bool
    suspected: tuple[SuspectedSlice, ...]


def slice_section(parts: SliceReport | None, report: EvalReport | None, config: RunConfig) -> SliceSection | None:
    """By the metric of the gate; None where no row differs from another by any slice."""
    if parts is None or report is None or not parts.by:
        return None
    name = config.gate.metric if config.gate.metric != "auto" else get_problem(report.problem).gate_metric
    metric = get_metric(name)
    known = [value for each in (parts.whole, *parts.slices) if (value := each.metrics.get(name)) is not None]
    longest = (metric.high if math.isfinite(metric.high) else max(known, default=0.0)) or 1.0
    whole, beside = parts.whole.metrics.get(name), get_problem(report.problem).baseline_metric
    second = None if beside == name else get_metric(beside)
    return SliceSection(
        metric=metric,
        second=second,
        whole=whole,
        place=_share(whole or 0.0, longest),
        tables=[_table(by, parts.slices, metric, second, longest) for by in parts.by],
        champion=parts.champion,
        has_clusters=any(each.clusters is not None for each in parts.slices),
        suspected=parts.suspected,
    )


def _table(
    by: SliceBy,
    slices: Sequence[SliceFigures],
    metric: Metric[Any, Any],
    second: Metric[Any, Any] | None,
    longest: float,
) -> SliceTable:
    rows = [
        _row(each, metric.name, "" if second is None else second.name, longest)
        for each in slices
        if each.slice == by.name
    ]
    rows.sort(key=lambda row: (row.figure is None, (row.figure or 0.0) * (-1 if metric.lower_is_better else 1)))
    notes = []
    if by.edges:
        notes.append(f"cut at the quartiles of the train rows: {', '.join(short_number(edge) for edge in by.edges)}")
    if by.others:
        notes.append(f"(others): {by.others:,} rarer values together")
    return SliceTable(f"{by.name} ({by.unit})" if by.unit else by.name, "; ".join(notes), rows)


def _row(each: SliceFigures, name: str, second: str, longest: float) -> SliceRow:
    figure, interval, other = each.metrics.get(name), each.intervals.get(CONFIDENCE, {}).get(name), each.reference
    return SliceRow(
        value=each.shown,
        rows=each.rows,
        clusters=each.clusters,
        figure=figure,
        interval=interval,
        second=each.metrics.get(second),
        second_interval=each.intervals.get(CONFIDENCE, {}).get(second),
        change=None if other is None else other.changes.get(name),
        p=None if other is None else other.p,
        length=_share(figure or 0.0, longest),
        low=None if interval is None else _share(interval[0], longest),
        high=None if interval is None else _share(interval[1], longest),
    )


def _share(value: float, longest: float) -> float:
    return min(max(value / longest, 0.0), 1.0)
