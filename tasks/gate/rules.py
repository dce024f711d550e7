"""The first lines of the gate's table: one for each rule of the config. Pure functions; NaN and None never pass."""

from __future__ import annotations

import math

from data_contracts.refs import EvalReport, RuleResult
from tasks.gate.sentences import doubt_clusters
from tasks.gate_rules import Figure, Rule, decide_rule, defined
from tasks.problems.problem import Problem
from tasks.problems.registry import get_metric, get_problem


def judge_rule(rule: Rule, report: EvalReport) -> RuleResult:
    """One rule of the config, decided."""
    metric = _problem(report, rule.column).baseline_metric if rule.metric == "auto" else rule.metric
    name = f"{rule.column}.{metric}" if rule.column and rule.column in report.metrics else metric
    figure = Figure(
        name=name,
        metric=get_metric(metric),
        value=defined(report.metrics.get(rule.column or "test", report.metrics["test"]).get(metric)),
        interval=_interval(report, name),
        constant=defined(report.baselines.get(name, report.majority_share if metric == "accuracy" else None)),
    )
    found = decide_rule(rule, figure)
    waits = rule.outcome == "needs-approval" and found.outcome != "pass"
    clusters = None if rule.column in report.known_rows else report.clusters
    return RuleResult(
        rule=found.rule,
        metric=name,
        value=figure.value,
        threshold=found.threshold,
        baseline=found.baseline,
        n=report.known_rows.get(rule.column, report.rows),
        clusters=clusters,
        interval=figure.interval,
        outcome="needs-approval" if waits else found.outcome,
        detail=found.detail + ("" if figure.interval is None else doubt_clusters(clusters)),
        sentence=f"{found.sentence} A person decides whether that is accepted." if waits else found.sentence,
    )


def _problem(report: EvalReport, column: str = "") -> Problem:
    """The problem of a label column."""
    return get_problem(report.problems.get(column, report.problem))


def _interval(report: EvalReport, metric: str) -> tuple[float, float] | None:
    low, high = report.intervals.get(metric, (math.nan, math.nan))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
