"""The gate's rules as pure functions: figures in, one line of the gate's table out. NaN and None never pass."""

from __future__ import annotations

import math
from typing import Literal

from data_contracts.refs import EvalReport, RuleResult
from tasks.config import GateConfig, Rule
from tasks.number_format import number_text, short_number
from tasks.problems.metric import Baseline
from tasks.problems.problem import Problem
from tasks.problems.registry import figure_text, get_metric, get_problem, problem_with

Outcome = Literal["pass", "fail", "inconclusive"]


def judge_rule(rule: Rule, report: EvalReport) -> RuleResult:
    """One rule of the config, decided.

    `min` and `max` are bounds on the figure itself, as their author would read them: the interval is reported but does not
    decide. `above_majority` is a statistical claim: the whole interval must lie on the better side of what one and the same
    answer scores. A figure that is better with an interval that reaches it is inconclusive; without an interval the figure
    itself decides.
    """
    metric = _problem(report, rule.column).baseline_metric if rule.metric == "auto" else rule.metric
    told_as = f"{rule.column}.{metric}" if rule.column and rule.column in report.metrics else metric
    value = defined(report.metrics.get(rule.column or "test", report.metrics["test"]).get(metric))
    interval = _interval(report, told_as)
    bounds = f" [{figure_text(interval[0], metric)}, {figure_text(interval[1], metric)}]" if interval else ""
    limit = rule.min if rule.min is not None else rule.max
    if limit is not None:
        least = rule.min is not None
        name = f"{told_as} {'>=' if least else '<='} {number_text(limit)}"
        threshold: float | None = limit
        baseline = "absolute minimum" if least else "absolute maximum"
        outcome, detail = _within(told_as, value, bounds, limit, least)
    else:
        threshold = defined(report.baselines.get(told_as, report.majority_share if metric == "accuracy" else None))
        constant = get_metric(metric).baseline
        if constant is None:
            raise ValueError(f"{metric} has no baseline to beat")  # which the config refuses
        name, baseline = f"{told_as} {constant.rule}", constant.answer
        outcome, detail = _beats(told_as, value, interval, bounds, threshold, constant)
    return RuleResult(
        rule=name,
        metric=told_as,
        value=value,
        threshold=defined(threshold),
        baseline=baseline,
        n=report.known_rows.get(rule.column, report.rows),
        outcome=outcome,
        detail=detail,
    )


def _problem(report: EvalReport, column: str = "") -> Problem:
    """The problem of a label column; that of a further one is known by the metrics that it has."""
    figures = report.metrics.get(column)
    return get_problem(report.problem) if figures is None else problem_with(figures)


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


def defined(value: float | None) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def _interval(report: EvalReport, metric: str) -> tuple[float, float] | None:
    low, high = report.intervals.get(metric, (math.nan, math.nan))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _within(metric: str, value: float | None, bounds: str, limit: float, least: bool) -> tuple[Outcome, str]:
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    passes, figure = value >= limit if least else value <= limit, figure_text(value, metric, beside=limit)
    sign = {(True, True): ">=", (True, False): "<=", (False, True): "<", (False, False): ">"}[passes, least]
    return ("pass" if passes else "fail"), f"{metric} {figure}{bounds} {sign} {number_text(limit)}"


def _beats(
    metric: str,
    value: float | None,
    interval: tuple[float, float] | None,
    bounds: str,
    baseline: float | None,
    constant: Baseline,
) -> tuple[Outcome, str]:
    what, lower = constant.value, get_metric(metric).lower_is_better
    if value is None or baseline is None:
        return "fail", f"{metric} or {what} is not defined on these test rows"
    sign, relation = (-1, "<") if lower else (1, ">")
    figure, base = figure_text(value, metric, beside=baseline), figure_text(baseline, metric)
    if sign * value <= sign * baseline:
        verb = "stay below" if lower else "exceed"
        return "fail", f"{metric} {figure}{bounds} does not {verb} {base}, {constant.limit}"
    if interval is None:
        return "pass", f"{metric} {figure} (no interval: the figure itself decided) {relation} {what} {base}"
    nearest = interval[1] if lower else interval[0]
    if sign * nearest > sign * baseline:
        return "pass", f"{metric} {figure}{bounds} {relation} {what} {base}"
    return "inconclusive", f"{metric} {figure}, but its interval{bounds} reaches the {what} {base}"


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
