"""The first lines of the gate's table: one for each rule of the config, of a slice's every value one each. Pure functions; NaN
and None never pass."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from data_contracts.refs import EvalReport, RuleResult
from data_contracts.slices import Bounds, PartFigures, ReferenceFigures, SliceReport
from tasks.gate.sentences import doubt_clusters
from tasks.gate_rules import EVERY, Decided, Figure, Reference, Rule, decide_rule
from tasks.problems.problem import Problem
from tasks.problems.registry import get_metric, get_problem
from tasks.problems.scoring import MIN_CLUSTERS, say_too_few

_NO_ROWS = PartFigures(rows=0, metrics={})


def evaluate_rule(rule: Rule, report: EvalReport) -> RuleResult:
    """One rule of the config on all rows, decided."""
    metric = _metric(rule, report)
    name = f"{rule.column}.{metric}" if rule.column and rule.column in report.metrics else metric
    figure = Figure(
        name=name,
        metric=get_metric(metric),
        value=defined(report.metrics.get(rule.column or "test", report.metrics["test"]).get(metric)),
        interval=_finite(report.intervals.get(name)),
        constant=defined(report.baselines.get(name, report.majority_share if metric == "accuracy" else None)),
    )
    rows = report.known_rows.get(rule.column, report.rows)
    return _line(rule, figure, rows, None if rule.column in report.known_rows else report.clusters)


def evaluate_parts(rule: Rule, report: EvalReport, parts: SliceReport, min_slice_rows: int) -> tuple[RuleResult, ...]:
    """A rule about a slice, about some modalities, or of some confidence, decided: one line for each part that it is about."""
    metric = _metric(rule, report)
    support = rule.support or (min_slice_rows if rule.slice else 1)
    found = _find_parts(rule, parts)
    enough = [part for part in found if part.counted(rule).rows >= support]
    small = [part for part in found if part.counted(rule).rows < support]
    if not enough:
        return (_too_small(rule, metric, small, support),)
    lines = []
    for part in enough:
        counted = part.counted(rule)
        lines.append(_line(rule, part.figure(rule, metric), counted.rows, counted.clusters))
    if small:
        names = ", ".join(part.name for part in small[:5]) + (" and others" if len(small) > 5 else "")
        left_out = f"; not tested, with fewer than {support} test rows: {names}"
        lines[0] = lines[0].model_copy(update={"detail": lines[0].detail + left_out})
    return tuple(lines)


@dataclass(frozen=True)
class _Part:
    """What a rule is about."""

    name: str
    """`speaker=ann`; nothing for all rows."""
    where: str
    """` on speaker=ann`."""
    figures: PartFigures
    version: str | None = None
    """Of the champion, where that is the reference."""

    def counted(self, rule: Rule) -> PartFigures | ReferenceFigures:
        """Whose rows are those that decide."""
        other = self.figures.reference
        return self.figures if rule.max_drop is None or other is None else other

    def figure(self, rule: Rule, metric: str) -> Figure:
        """What the rule decides by."""
        level = rule.confidence or 0.95
        bounds = self.figures.intervals.get(level, {}).get(metric)
        other = self.figures.reference
        return Figure(
            name=metric,
            metric=get_metric(metric),
            value=defined(self.figures.metrics.get(metric)),
            interval=_finite(bounds),
            constant=None,
            where=self.where,
            confidence=rule.confidence,
            reference=None if other is None else self._reference(other, rule, metric),
        )

    def _reference(self, other: ReferenceFigures, rule: Rule, metric: str) -> Reference:
        champion = self.version is not None
        return Reference(
            name="the champion" if champion else "with all modalities",
            owner="the champion's" if champion else "all modalities'",
            baseline=f"champion version {self.version}" if champion else "all modalities",
            value=defined(other.metrics.get(metric)),
            change=defined(other.changes.get(metric)),
            interval=_finite(other.intervals.get(rule.confidence or 0.95, {}).get(metric)),
        )


def _find_parts(rule: Rule, parts: SliceReport) -> list[_Part]:
    if rule.corruption:
        curve = next((each for each in parts.robustness if each.corruption == rule.corruption), None)
        figures = _NO_ROWS if curve is None or rule.severity is None else curve.levels[rule.severity]
        what = f"{rule.corruption} of severity {rule.severity}"
        return [_Part(what, f" under {what}", figures, parts.champion)]
    if rule.modalities:
        given = parts.inputs.get(rule.modalities, _NO_ROWS)  # a model that lacks one of them has no figures
        return [_Part(rule.modalities, f" with {rule.modalities} only", given)]
    if not rule.slice:
        return [_Part("", "", parts.whole, parts.champion)]
    named = [each for each in parts.slices if each.slice == rule.slice_name]
    chosen = named if rule.slice_value == EVERY else [each for each in named if each.value == rule.slice_value]
    if not chosen:
        return [_Part(rule.slice, f" on {rule.slice}", _NO_ROWS, parts.champion)]
    return [_Part(each.name, f" on {each.slice}={each.shown}", each, parts.champion) for each in chosen]


def _too_small(rule: Rule, metric: str, small: list[_Part], support: int) -> RuleResult:
    rows = max(part.counted(rule).rows for part in small)
    what = small[0].where if len(small) == 1 else f" on {rule.slice}"
    have = "1 test row" if rows == 1 else f"{rows:,} test rows"
    few = f"{have}, fewer than {support}" if len(small) == 1 else f"no value has {support} test rows (at most {rows:,})"
    title = get_metric(metric).title + what
    found = Decided(
        f"{metric}{what}", "inconclusive", f"{metric}{what}: {few}", None, "", f"{title}: too few test rows to tell."
    )
    figure = Figure(metric, get_metric(metric), None, None, None)
    return _result(rule, figure, found, rows, None)


def _line(rule: Rule, figure: Figure, rows: int, clusters: int | None) -> RuleResult:
    few = say_too_few(clusters) if clusters is not None and clusters < MIN_CLUSTERS else None
    return _result(rule, figure, decide_rule(rule, replace(figure, few_clusters=few)), rows, clusters)


def _result(rule: Rule, figure: Figure, found: Decided, rows: int, clusters: int | None) -> RuleResult:
    waits = rule.outcome == "needs-approval" and found.outcome != "pass"
    interval = found.interval or figure.interval
    return RuleResult(
        rule=found.rule,
        metric=figure.name,
        value=figure.value,
        threshold=found.threshold,
        baseline=found.baseline,
        n=rows,
        clusters=clusters,
        interval=interval,
        outcome="needs-approval" if waits else found.outcome,
        detail=found.detail + ("" if interval is None else doubt_clusters(clusters)),
        sentence=f"{found.sentence} A person decides whether that is accepted." if waits else found.sentence,
    )


def _metric(rule: Rule, report: EvalReport) -> str:
    return _problem(report, rule.column).baseline_metric if rule.metric == "auto" else rule.metric


def _problem(report: EvalReport, column: str = "") -> Problem:
    """The problem of a label column."""
    return get_problem(report.problems.get(column, report.problem))


def _finite(bounds: Bounds | None) -> Bounds | None:
    return bounds if bounds is not None and all(map(math.isfinite, bounds)) else None


def defined(value: float | None) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None
