"""The lines of the gate's table that compare the candidate with published models, paired on the same test rows.

With the difference d (candidate - champion; of errors, champion - candidate) and its interval [low, high]:

better      pass: low > 0. fail: high < 0. Else inconclusive.
not-worse   pass: low > -margin, and the rows are enough for a loss of the margin to have shown. fail: d < -margin and
            high < 0 (a loss is shown, and its best estimate exceeds the margin). Else inconclusive.

A loss that is not shown is no reason to promote: with few rows nothing is ever shown. So not-worse asks for evidence that the
loss is smaller than the margin, of the champion and, lest small losses add up, of the best champion so far (its anchor).
Which rule errs how often is simulated by benchmarks/gate.py; docs/gate.md explains it. Pure functions; None never passes.
"""

from __future__ import annotations

from statistics import NormalDist

from data_contracts.refs import EvalReport, Loss, Losses, Pairing, RuleResult
from tasks.config import GateConfig
from tasks.gate_rules import Outcome, defined
from tasks.number_format import short_number
from tasks.problems.registry import figure_text, get_metric, get_problem

FEW_CLUSTERS = 20
"""Below it an interval over clusters is rough (Cameron, Gelbach & Miller 2008), and the gate's table says so."""
POWER = 0.8
"""Chance of passing that the number of rows which would be enough is given for, of a model as good as the champion."""


def compare_models(report: EvalReport, config: GateConfig) -> tuple[RuleResult, ...]:
    """The last lines of the gate's table: against the champion, the best champion so far, and by class."""
    metric = get_problem(report.problem).gate_metric if config.metric == "auto" else config.metric
    value = defined(report.metrics.get("test", {}).get(metric))
    champion = champion_of(report)
    if champion is None:
        return (_first(report, config, metric, value),)
    lines = [_line(champion, "the champion", config, config.mode, metric, value)]
    if report.anchor is not None and config.anchor == "best":
        lines.append(_line(report.anchor, "the best champion so far", config, "not-worse", metric, value))
    if report.losses is not None and config.slice_alpha > 0:
        lines.append(_losses(report.losses, champion, config, metric))
    return tuple(lines)


def next_anchor(report: EvalReport, config: GateConfig) -> str | None:
    """The version that later candidates are held against, should this one be promoted; None: itself.

    Only a model that is shown to be better takes its place: the highest figure so far may be luck, and each model within the
    margin of the one before would let fifty small losses pass.
    """
    best = report.anchor or champion_of(report)
    if best is None or config.anchor == "off":
        return None
    metric = get_problem(report.problem).gate_metric if config.metric == "auto" else config.metric
    found = _oriented(best, metric)
    return None if found is not None and is_better(*found) == "pass" else best.version


def champion_of(report: EvalReport) -> Pairing | None:
    """Candidate and champion; None where there was none."""
    if report.champion_sha256 is None:
        return None
    return Pairing(
        version=report.champion_version or "?",
        model_sha256=report.champion_sha256,
        rows=report.rows if report.champion_rows is None else report.champion_rows,
        clusters=report.champion_clusters,
        seen=report.champion_seen,
        metrics=report.champion_metrics or {},
        differences=report.differences,
        effective_rows=report.champion_effective_rows,
    )


def is_better(difference: float, low: float, high: float) -> Outcome:
    """Mode better, of a metric of which more is better."""
    if low > 0:
        return "pass"
    return "fail" if high < 0 else "inconclusive"


def is_not_worse(
    difference: float, low: float, high: float, margin: float, effective_rows: float | None, confidence: float
) -> Outcome:
    """Mode not-worse, of a metric of which more is better."""
    if low > -margin and difference + margin > least_gap(margin, effective_rows, confidence):
        return "pass"
    return "fail" if difference < -margin and high < 0 else "inconclusive"


def least_gap(margin: float, effective_rows: float | None, confidence: float) -> float:
    """How far above -margin a difference must lie at the least, however seldom two models differ on these rows.

    A model that loses the margin differs on that share of the rows, so its difference varies by margin / rows. Of 50 rows on
    which both models agree the interval is [0, 0], and yet one that loses 2 points agrees on all of them once in three times.
    """
    if effective_rows is None or margin == 0:
        return 0.0
    return NormalDist().inv_cdf((1 + confidence) / 2) * (margin / effective_rows) ** 0.5


def _line(
    other: Pairing, who: str, config: GateConfig, mode: str, metric: str, value: float | None
) -> RuleResult:
    """One comparison, decided."""
    theirs = defined(other.metrics.get(metric))
    margin = _margin(config, theirs, metric)
    threshold = theirs
    if mode != "better" and theirs is not None:
        threshold = theirs + margin if get_metric(metric).lower_is_better else theirs - margin
    outcome, detail = _decide(other, who, config, mode, metric, value)
    scored = "" if theirs is None else f": {figure_text(theirs, metric)}"
    named = "champion version" if who == "the champion" else "best champion so far, version"
    return RuleResult(
        rule=f"{metric} {'better than' if mode == 'better' else 'not worse than'} {who}",
        metric=metric,
        value=value,
        threshold=threshold,
        baseline=f"{named} {other.version}{scored}",
        n=other.rows,
        clusters=other.clusters,
        outcome=outcome,
        detail=f"{detail}{_about_rows(other, who)}",
    )


def _decide(
    other: Pairing, who: str, config: GateConfig, mode: str, metric: str, value: float | None
) -> tuple[Outcome, str]:
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    figure, theirs = figure_text(value, metric), defined(other.metrics.get(metric))
    if other.rows < config.min_rows:
        rows = "1 test row" if other.rows == 1 else f"{other.rows} test rows"
        return "inconclusive", f"{rows} to compare with {who} on, fewer than {config.min_rows} (gate.min_rows)"
    found = _oriented(other, metric)
    if theirs is None or found is None:
        return "inconclusive", f"{metric} {figure} cannot be compared: {who} has none on these test rows"
    gained, worst, best = (figure_text(number, metric, sign=True) for number in other.differences[metric])
    detail = f"{metric} {figure} against {who}'s {figure_text(theirs, metric)} (difference {gained} [{worst}, {best}]"
    if mode == "better":
        outcome = is_better(*found)
        doubt = "" if outcome != "inconclusive" else ": no difference is shown, better needs a gain"
        return outcome, f"{detail}){doubt}"
    margin, effective = _margin(config, theirs, metric), other.effective_rows.get(metric)
    outcome = is_not_worse(*found, margin, effective, config.confidence)
    detail += f", margin {short_number(margin)})"
    if outcome != "inconclusive":
        return outcome, detail
    return outcome, f"{detail}: {_what_is_missing(found, other, margin, effective, config)}"


def _what_is_missing(
    found: tuple[float, float, float], other: Pairing, margin: float, effective: float | None, config: GateConfig
) -> str:
    """Why a loss of the margin is not ruled out, and how many rows would be enough."""
    difference, low, _ = found
    z = NormalDist().inv_cdf((1 + config.confidence) / 2)
    half = max(difference - low, least_gap(margin, effective, config.confidence))
    why = f"a loss of {short_number(margin)} or more is not ruled out"
    if margin == 0 or half == 0:
        return why
    enough = other.rows * (half / margin * (1 + NormalDist().inv_cdf(POWER) / z)) ** 2
    if enough <= other.rows:
        return f"{why}, although {other.rows:,} rows would show it of an equal model"
    return f"{why}; of an equal model about {_rounded_up(enough):,} such rows would show it (4 times in 5)"


def _rounded_up(rows: float) -> int:
    """With two digits."""
    digit = 10 ** max(len(str(int(rows))) - 2, 0)
    return -int(-rows // digit) * digit


def _about_rows(other: Pairing, who: str) -> str:
    said = []
    if other.seen:
        rows = "1 row was" if other.seen == 1 else f"{other.seen:,} rows were"
        said.append(f"{rows} left out, which {who} was trained on")
    if other.clusters is not None and other.clusters < FEW_CLUSTERS:
        said.append(f"few clusters ({other.clusters}): the interval is rough")
    return "".join(f"; {each}" for each in said)


def _losses(losses: Losses, champion: Pairing, config: GateConfig, metric: str) -> RuleResult:
    """Whether any part of the rows is worse. It does not depend on gate.confidence: more of it must not let more pass."""
    worse = [part for part in losses.parts if part.lost or part.p <= config.slice_alpha]
    if worse:
        named = ", ".join(map(_loss_text, worse[:3]))
        detail = f"worse than the champion on {named}{' and others' if len(worse) > 3 else ''}"
    elif losses.tested:
        detail = f"no class or set of modalities is significantly worse ({losses.tested} tested, Holm)"
    else:
        detail = "no class or set of modalities was tested"
    if losses.too_small:
        detail += f"; {losses.too_small} with fewer than {losses.min_rows} test rows not tested"
    return RuleResult(
        rule="no class or slice worse than the champion",
        metric=metric,
        value=None,
        threshold=None,
        baseline=f"champion version {champion.version}",
        n=champion.rows,
        clusters=champion.clusters,
        outcome="fail" if worse else "pass",
        detail=detail,
    )


def _loss_text(part: Loss) -> str:
    what = f"class {part.value!r}" if part.by == "class" else f"rows with {part.value}"
    if part.lost:
        return f"{what} (none of its {part.rows} rows is answered rightly any more)"
    return f"{what} ({short_number(part.change, True)} on average over {part.rows} rows, p {max(part.p, 1e-4):.2g})"


def _first(report: EvalReport, config: GateConfig, metric: str, value: float | None) -> RuleResult:
    outcome: Outcome = "fail" if value is None else "pass"
    known = f"{metric} is not defined on these test rows" if value is None else f"{metric} {figure_text(value, metric)}"
    return RuleResult(
        rule=f"{metric} {'better than' if config.mode == 'better' else 'not worse than'} the champion",
        metric=metric,
        value=value,
        threshold=None,
        baseline="no champion yet",
        n=report.rows,
        clusters=report.clusters,
        outcome=outcome,
        detail=known if value is None else f"{known}; no champion to compare with",
    )


def _oriented(other: Pairing, metric: str) -> tuple[float, float, float] | None:
    """Difference, low and high so that more is better; None where any is not known."""
    found = other.differences.get(metric)
    if found is None or any(defined(number) is None for number in found):
        return None
    difference, low, high = found
    return (-difference, -high, -low) if get_metric(metric).lower_is_better else found


def _margin(config: GateConfig, champion: float | None, metric: str) -> float:
    """In the metric's own unit: errors have any, so there the margin is a share of the champion's."""
    relative = get_metric(metric).margin_is_relative
    return config.margin * abs(champion) if relative and champion is not None else config.margin
