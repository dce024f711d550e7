"""The gate's table: a line for each rule of the config, and one for the champion. Pure functions; NaN and None never pass."""

from __future__ import annotations

import math

from data_contracts.refs import EvalReport, RuleResult
from tasks.config import GateConfig
from tasks.gate_rules import Figure, Outcome, Rule, decide_rule, defined
from tasks.number_format import short_number
from tasks.problems.problem import Problem
from tasks.problems.registry import figure_text, get_metric, get_problem


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
    return RuleResult(
        rule=found.rule,
        metric=name,
        value=figure.value,
        threshold=found.threshold,
        baseline=found.baseline,
        n=report.known_rows.get(rule.column, report.rows),
        outcome=found.outcome,
        detail=found.detail,
    )


def _problem(report: EvalReport, column: str = "") -> Problem:
    """The problem of a label column."""
    return get_problem(report.problems.get(column, report.problem))


def compare_with_champion(report: EvalReport, config: GateConfig) -> RuleResult:
    """Candidate against champion on `gate.metric`, paired on the same test rows; passes where there is no champion.

    With the difference d (candidate - champion; of errors, champion - candidate) and its interval [low, high]:

    better      pass: low > 0. fail: high < 0. Else inconclusive.
    not-worse   pass: low > -margin (shown to lose less than the margin), or d >= -margin and high >= 0 (the best
                estimate stays within the margin and a loss is not shown).
                fail: d < -margin and high < 0 (a loss is shown, and its best estimate exceeds the margin).
                Else inconclusive: a large but unproven loss, or a proven one that may exceed the margin.

    Why not demand low > -margin alone: two equally good models that disagree on 20 of 500 rows differ by 0 +- 0.018,
    so with a margin of 0.01 a weekly retrain would never be published. Why that is safe enough: what slips through is
    a loss of at most `margin` that 500 rows cannot tell from noise; `gate.rules` set the floor under a slow drift.
    """
    metric = _problem(report).gate_metric if config.metric == "auto" else config.metric
    lower = get_metric(metric).lower_is_better
    value = defined(report.metrics.get("test", {}).get(metric))
    if report.champion_sha256 is None:
        baseline, threshold = "no champion yet", None
        outcome, detail = _first(metric, value)
    else:
        champion = defined((report.champion_metrics or {}).get(metric))
        scored = "" if champion is None else f": {figure_text(champion, metric)}"
        baseline = f"champion version {report.champion_version}{scored}"
        margin = _margin(config, champion, metric)
        threshold = champion
        if config.mode != "better" and champion is not None:
            threshold = champion + margin if lower else champion - margin
        outcome, detail = _difference(report, config, metric, value, champion)
    return RuleResult(
        rule=f"{metric} {'better than' if config.mode == 'better' else 'not worse than'} the champion",
        metric=metric,
        value=value,
        threshold=threshold,
        baseline=baseline,
        n=report.rows if report.champion_rows is None else report.champion_rows,
        outcome=outcome,
        detail=detail,
    )


def _interval(report: EvalReport, metric: str) -> tuple[float, float] | None:
    low, high = report.intervals.get(metric, (math.nan, math.nan))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _first(metric: str, value: float | None) -> tuple[Outcome, str]:
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    return "pass", f"{metric} {figure_text(value, metric)}; no champion to compare with"


def _difference(
    report: EvalReport, config: GateConfig, metric: str, value: float | None, champion: float | None
) -> tuple[Outcome, str]:
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    figure, found = figure_text(value, metric), report.differences.get(metric)
    if champion is None or found is None or defined(found[0]) is None:
        return "inconclusive", f"{metric} {figure} cannot be compared: the champion has none on these test rows"
    difference, low, high = found
    gained, worst, best = (figure_text(number, metric, sign=True) for number in found)
    detail = f"{metric} {figure} against the champion's {figure_text(champion, metric)} (difference {gained}"
    if defined(low) is None or defined(high) is None:
        low = high = difference
        detail += ", no interval: the difference itself decided"
    else:
        detail += f" [{worst}, {best}]"
    lower = get_metric(metric).lower_is_better
    if lower:  # from here on, more is better
        difference, low, high = -difference, -high, -low
    if config.mode == "better":
        return _is_better(low, high), f"{detail})"
    margin = _margin(config, champion, metric)
    return _is_not_worse(difference, low, high, margin), f"{detail}, margin {short_number(margin)})"


def _margin(config: GateConfig, champion: float | None, metric: str) -> float:
    """In the metric's own unit: errors have any, so there the margin is a share of the champion's."""
    relative = get_metric(metric).margin_is_relative
    return config.margin * abs(champion) if relative and champion is not None else config.margin


def _is_better(low: float, high: float) -> Outcome:
    if low > 0:
        return "pass"
    return "fail" if high < 0 else "inconclusive"


def _is_not_worse(difference: float, low: float, high: float, margin: float) -> Outcome:
    if low > -margin or (difference >= -margin and high >= 0):
        return "pass"
    return "fail" if difference < -margin and high < 0 else "inconclusive"
