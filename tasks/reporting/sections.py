"""The sections of the report that show an evaluation and the data, as what the template draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from data_contracts.data_profile import ClassSizes, InputProfile
from data_contracts.eval_detail import ClassFigures, EvalDetail, Mistake, Slice
from data_contracts.modalities import INPUTS
from data_contracts.refs import CleanRef, EvalReport, ValidatedRef
from tasks.config import RunConfig
from tasks.problems.metric import Metric
from tasks.problems.registry import get_metric, get_problem
from tasks.reporting.artifacts import read_profile
from tasks.reporting.charts import SizeChart, size_chart
from tasks.reporting.formatting import figure
from tasks.reporting.problem_charts import (
    ColumnTable,
    MetricTable,
    PrecisionChart,
    ResidualChart,
    ScatterChart,
    column_tables,
    metric_table,
    precision_charts,
    residual_chart,
    scatter_chart,
)
from tasks.reporting.thumbnails import Thumbnails, picture_media
from tasks.store import Store

TABLE_ROWS = 40


class ComparedFigure(NamedTuple):
    """A test figure beside the champion's on the same rows."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    champion: float | None
    difference: tuple[float, float, float] | None
    better: Literal["lower", "higher"]
    unit: str


class Comparison(NamedTuple):
    """All test figures of the first label column."""

    rows: list[ComparedFigure]
    confidence: float
    compared: int
    """Test rows that the champion was scored on."""


class ProblemSections(TypedDict):
    """What only label sets, numbers, or several label columns have to show."""

    columns: list[ColumnTable]
    contributions: MetricTable | None
    presence: MetricTable | None
    scatter: ScatterChart | None
    residuals: ResidualChart | None
    precision: list[PrecisionChart]


class ModalityBar(NamedTuple):
    """The headline figures of the model with only some modalities."""

    name: str
    value: float | None
    second: float | None
    length: float
    """Of the bar, as a share of the track."""
    all: bool


class ModalityChart(NamedTuple):
    """What each modality contributes, by the problem's first headline metric."""

    bars: list[ModalityBar]
    metric: Metric[Any, Any]
    second: Metric[Any, Any]
    constant: float | None
    """What one and the same answer to every row scores; None where it is not known."""
    place: float
    """Of that along the track, a share."""


class ClassTable(NamedTuple):
    """Figures per class, and how many classes are left out."""

    rows: Sequence[ClassFigures]
    left_out: int


class ProfileSection(NamedTuple):
    """What validate found of the data."""

    rows: int
    classes: ClassSizes
    largest: int
    """Rows of the largest class."""
    modalities: list[tuple[InputProfile, SizeChart | None]]
    numbers: SizeChart | None


def compare_figures(report: EvalReport | None, detail: EvalDetail | None, config: RunConfig) -> Comparison | None:
    """The test figures, beside the champion's on the same rows."""
    if report is None:
        return None
    metrics, theirs = report.metrics["test"], report.champion_metrics or {}
    rows = [
        ComparedFigure(
            name=metric.title,
            value=metrics.get(metric.name),
            interval=report.intervals.get(metric.name),
            champion=theirs.get(metric.name),
            difference=report.differences.get(metric.name),
            better="lower" if metric.lower_is_better else "higher",
            unit=metric.unit,
        )
        for metric in get_problem(report.problem).metrics
    ]
    compared = detail.champion_rows if detail and detail.champion_rows is not None else report.rows
    return Comparison(rows, config.gate.confidence, compared)


def baseline_sentence(report: EvalReport) -> str:
    """What one and the same answer to every row would score."""
    metric = get_metric(get_problem(report.problem).baseline_metric)
    value = report.baselines.get(metric.name, report.majority_share)
    return "" if metric.baseline is None else metric.baseline.sentence.format(figure(value, metric.unit))


def problem_sections(report: EvalReport | None, detail: EvalDetail | None) -> ProblemSections:
    """What only label sets, numbers, or several label columns have to show."""
    columns = column_tables(report) if report else []
    if report is None or detail is None or detail.confusion:
        return ProblemSections(
            columns=columns, contributions=None, presence=None, scatter=None, residuals=None, precision=[]
        )
    by_inputs = [(name, None, figures) for name, figures in report.by_modalities.items()]
    by_presence = [(part.value, part.n, part.metrics) for part in detail.slices]
    return ProblemSections(
        columns=columns,
        contributions=metric_table(by_inputs, report.problem),
        presence=metric_table(by_presence, report.problem),
        scatter=scatter_chart(detail.points) if detail.points else None,
        residuals=residual_chart(detail.residuals) if detail.residuals else None,
        precision=precision_charts(detail.pr_curves),
    )


def modality_chart(report: EvalReport | None) -> ModalityChart | None:
    """A bar per set of modalities, single ones first; the full set is marked. A share has the track of 0 to 100 %, a number
    one as long as the largest of those shown."""
    if report is None or not report.by_modalities:
        return None
    found, order = report.by_modalities, list(INPUTS)
    metric, second = map(get_metric, get_problem(report.problem).headline)
    names = sorted(found, key=lambda name: (name.count("+"), [order.index(m) for m in name.split("+") if m in order]))
    constant = None if metric.baseline is None else report.baselines.get(metric.name, report.majority_share)
    values = {name: found[name].get(metric.name) for name in names}
    known = [value for value in (constant, *values.values()) if value is not None]
    longest = (metric.high if math.isfinite(metric.high) else max(known, default=0.0)) or 1.0

    def length(value: float | None) -> float:
        """A share of the track."""
        return max(value or 0.0, 0.0) / longest

    bars = [
        ModalityBar(name, value, found[name].get(second.name), length(value), name == names[-1])
        for name, value in values.items()
    ]
    return ModalityChart(bars, metric, second, constant, length(constant))


def class_table(detail: EvalDetail | None) -> ClassTable | None:
    """All classes in their order; of many, those with the lowest F1."""
    if detail is None or not detail.per_class:
        return None
    rows = detail.per_class
    if len(rows) <= TABLE_ROWS:
        return ClassTable(rows, 0)
    return ClassTable(sorted(rows, key=lambda row: row.f1)[:TABLE_ROWS], len(rows) - TABLE_ROWS)


def modality_slices(detail: EvalDetail | None) -> list[Slice]:
    """The accuracy of classes per set of modalities present."""
    if detail is None or not detail.confusion:
        return []
    return [part for part in detail.slices if part.by == "modalities"]


def seen_mistakes(detail: EvalDetail | None, clean: CleanRef | None, store: Store) -> list[tuple[Mistake, Thumbnails]]:
    """Each mistake with what its media look like."""
    if detail is None or clean is None:
        return []
    pictures = picture_media([mistake.media for mistake in detail.mistakes], clean.media, store)
    return list(zip(detail.mistakes, pictures, strict=True))


def profile_section(valid: ValidatedRef | None, store: Store) -> ProfileSection | None:
    """What validate wrote of the data, with the histograms as bars to draw; None for a store that has none."""
    profile = read_profile(valid, store)
    if profile is None:
        return None
    inputs = [(one, size_chart(one["sizes"]) if one["sizes"] else None) for one in profile["modalities"]]
    largest = max((row["rows"] for row in profile["classes"]["rows"]), default=1)
    numbers = size_chart(profile["numbers"]) if profile["numbers"] else None
    return ProfileSection(profile["rows"], profile["classes"], largest, inputs, numbers)
