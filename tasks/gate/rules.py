"""The gate's rules as pure functions: figures in, one line of the gate's table out. NaN and None never pass."""

from __future__ import annotations

import math
from typing import Literal

from data_contracts.refs import EvalReport, RuleResult
from tasks.config import GateConfig, Rule

Outcome = Literal["pass", "fail", "inconclusive"]


def judge_rule(rule: Rule, report: EvalReport) -> RuleResult:
    """One rule of the config, decided.

    `min` is a floor on the figure itself, as its author would read it: the interval is told but does not decide.
    `above_majority` is a statistical claim: the interval's low end must lie above the majority share. A figure above
    it with an interval that reaches down to it is inconclusive; without an interval the figure itself decides.
    """
    value = defined(report.metrics.get("test", {}).get(rule.metric))
    interval = _interval(report, rule.metric)
    bounds = f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
    if rule.min is not None:
        name, baseline, threshold = f"{rule.metric} >= {rule.min:g}", "absolute minimum", rule.min
        outcome, told = _at_least(rule, value, bounds)
    else:
        name, baseline, threshold = (
            f"{rule.metric} above majority",
            "always the most frequent class",
            report.majority_share,
        )
        outcome, told = _above(rule, value, interval, bounds, threshold)
    return RuleResult(
        rule=name,
        metric=rule.metric,
        value=value,
        threshold=defined(threshold),
        baseline=baseline,
        n=report.rows,
        outcome=outcome,
        detail=told,
    )


def compare_with_champion(report: EvalReport, config: GateConfig) -> RuleResult:
    """Candidate against champion on `gate.metric`, paired on the same test rows; passes where there is no champion.

    With the difference d (candidate - champion) and its interval [low, high]:

    better      pass: low > 0. fail: high < 0. Else inconclusive.
    not-worse   pass: low > -margin (shown to lose less than the margin), or d >= -margin and high >= 0 (the best
                estimate stays within the margin and a loss is not shown).
                fail: d < -margin and high < 0 (a loss is shown, and its best estimate exceeds the margin).
                Else inconclusive: a large but unproven loss, or a proven one that may exceed the margin.

    Why not demand low > -margin alone: two equally good models that disagree on 20 of 500 rows differ by 0 +- 0.018,
    so with a margin of 0.01 a weekly retrain would never be published. Why that is safe enough: what slips through is
    a loss of at most `margin` that 500 rows cannot tell from noise; `gate.rules` set the floor under a slow drift.
    """
    metric = config.metric
    value = defined(report.metrics.get("test", {}).get(metric))
    if report.champion_sha256 is None:
        baseline, threshold = "no champion yet", None
        outcome, told = _first(metric, value)
    else:
        champion = defined((report.champion_metrics or {}).get(metric))
        baseline = f"champion version {report.champion_version}" + ("" if champion is None else f": {champion:.3f}")
        threshold = champion if config.mode == "better" or champion is None else champion - config.margin
        outcome, told = _difference(report, config, value, champion)
    return RuleResult(
        rule=f"{metric} {'better than' if config.mode == 'better' else 'not worse than'} the champion",
        metric=metric,
        value=value,
        threshold=threshold,
        baseline=baseline,
        n=report.rows,
        outcome=outcome,
        detail=told,
    )


def defined(value: float | None) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def _interval(report: EvalReport, metric: str) -> tuple[float, float] | None:
    low, high = report.intervals.get(metric, (math.nan, math.nan))
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _at_least(rule: Rule, value: float | None, bounds: str) -> tuple[Outcome, str]:
    assert rule.min is not None
    if value is None:
        return "fail", f"{rule.metric} is not defined on these test rows"
    passes = value >= rule.min
    return ("pass" if passes else "fail"), f"{rule.metric} {value:.3f}{bounds} {'>=' if passes else '<'} {rule.min:g}"


def _above(
    rule: Rule, value: float | None, interval: tuple[float, float] | None, bounds: str, majority: float
) -> tuple[Outcome, str]:
    if value is None or defined(majority) is None:
        return "fail", f"{rule.metric} or the majority share is not defined on these test rows"
    if value <= majority:
        return (
            "fail",
            f"{rule.metric} {value:.3f}{bounds} does not exceed {majority:.3f}, the share of the largest class",
        )
    if interval is None:
        return (
            "pass",
            f"{rule.metric} {value:.3f} (no interval: the figure itself decided) > majority share {majority:.3f}",
        )
    if interval[0] > majority:
        return "pass", f"{rule.metric} {value:.3f}{bounds} > majority share {majority:.3f}"
    return (
        "inconclusive",
        f"{rule.metric} {value:.3f}, but its interval{bounds} reaches the majority share {majority:.3f}",
    )


def _first(metric: str, value: float | None) -> tuple[Outcome, str]:
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    return "pass", f"{metric} {value:.3f}; no champion to compare with"


def _difference(
    report: EvalReport, config: GateConfig, value: float | None, champion: float | None
) -> tuple[Outcome, str]:
    metric = config.metric
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    found = report.differences.get(metric)
    if champion is None or found is None or defined(found[0]) is None:
        return "inconclusive", f"{metric} {value:.3f} cannot be compared: the champion has none on these test rows"
    difference, low, high = found
    told = f"{metric} {value:.3f} against the champion's {champion:.3f} (difference {difference:+.3f}"
    if defined(low) is None or defined(high) is None:
        low = high = difference
        told += ", no interval: the difference itself decided"
    else:
        told += f" [{low:+.3f}, {high:+.3f}]"
    if config.mode == "better":
        return _is_better(low, high), f"{told})"
    return _is_not_worse(difference, low, high, config.margin), f"{told}, margin {config.margin:g})"


def _is_better(low: float, high: float) -> Outcome:
    if low > 0:
        return "pass"
    return "fail" if high < 0 else "inconclusive"


def _is_not_worse(difference: float, low: float, high: float, margin: float) -> Outcome:
    if low > -margin or (difference >= -margin and high >= 0):
        return "pass"
    return "fail" if difference < -margin and high < 0 else "inconclusive"
