"""The lines of the gate's table that compare the candidate with published models, paired on the same test rows.

With the difference d (candidate - champion; of errors, champion - candidate) and its interval [low, high]:

better      pass: low > 0. fail: high < 0. Else inconclusive.
not-worse   pass: low > -margin, and the rows are enough for a loss of the margin to have shown. fail: d < -margin and
            high < 0 (a loss is shown, and its best estimate exceeds the margin). Else inconclusive.
            Against the best champion so far (its anchor): the same with an interval of more confidence, or low > 0.

A loss that is not shown is no reason to promote: with few rows nothing is ever shown. So not-worse asks for evidence that the
loss is smaller than the margin, of the champion and, lest small losses add up, of the best champion so far, which is looked at
in every run. Which rule errs how often is simulated by benchmarks/gate.py; docs/gate.md explains it. Pure functions; None never
passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from data_contracts.refs import EvalReport, Pairing, RuleResult
from data_contracts.slices import SliceRegression, SliceRegressions
from tasks.config import GateConfig
from tasks.gate.rules import defined
from tasks.gate.sentences import FIRST, describe_rows, say_comparison, say_regressions, say_undefined
from tasks.gate_rules import Outcome
from tasks.number_format import short_number
from tasks.problems.registry import figure_text, get_metric, get_problem
from tasks.problems.scoring import MIN_CLUSTERS, say_too_few

POWER = 0.8
"""Chance of passing that the number of rows which would be enough is given for, of a model as good as the champion."""
ANCHOR_LOOKS = 25
"""The error that gate.confidence allows is divided by so many where a candidate is held against the best champion so far: each
retrain of a year is another chance to slip through, and one that slipped through stays. By simulation: fewer leave more than
5 % of the years below their start minus the margin."""
Found = tuple[float, float, float]


def compare_models(report: EvalReport, config: GateConfig) -> tuple[RuleResult, ...]:
    """The last lines of the gate's table: against the champion, the best champion so far, and by class."""
    metric = get_problem(report.problem).gate_metric if config.metric == "auto" else config.metric
    value = defined(report.metrics.get("test", {}).get(metric))
    champion = champion_of(report)
    if champion is None:
        return (_first(report, config, metric, value),)
    anchored = config.anchor == "best"
    strict = anchored and report.anchor is None and config.mode == "not-worse"  # the champion is the best so far
    lines = [_line(Comparison(champion, "the champion", config, config.mode, metric, strict), value)]
    if anchored and report.anchor is not None:
        lines.append(
            _line(Comparison(report.anchor, "the best champion so far", config, "not-worse", metric, True), value)
        )
    if report.slice_regressions is not None and config.slice_alpha > 0:
        lines.append(_regressions(report.slice_regressions, champion, config, metric))
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
        differing=report.champion_differing,
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
    return NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(margin / effective_rows)


def anchor_confidence(confidence: float) -> float:
    """Of the interval against the best champion so far."""
    return 1 - (1 - confidence) / ANCHOR_LOOKS


def stretch(found: Found, confidence: float, larger: float, differing: int | None) -> Found:
    """An interval at `confidence` as it is at a larger one, by Student's t of the rows that differ: so far out a bootstrap has
    no resamples to count."""
    from scipy.special import stdtrit

    degrees = math.inf if differing is None else max(differing - 1, 1)
    far, near = (float(stdtrit(degrees, (1 + level) / 2)) for level in (larger, confidence))
    value, low, high = found
    return value, value - far / near * (value - low), value + far / near * (high - value)


@dataclass(frozen=True)
class Comparison:
    """One line to be decided."""

    other: Pairing
    who: str
    config: GateConfig
    mode: Literal["better", "not-worse"]
    metric: str
    strict: bool = False
    """Whether the other is the best champion so far."""

    @property
    def theirs(self) -> float | None:
        """The other model's figure."""
        return defined(self.other.metrics.get(self.metric))

    @property
    def margin(self) -> float:
        """In the metric's own unit: errors have any, so there the margin is a share of the champion's."""
        relative = get_metric(self.metric).margin_is_relative
        return self.config.margin * abs(self.theirs) if relative and self.theirs is not None else self.config.margin

    @property
    def confidence(self) -> float:
        """Of the interval that decides."""
        return anchor_confidence(self.config.confidence) if self.strict else self.config.confidence

    @property
    def found(self) -> Found | None:
        """Difference, low and high at gate.confidence, so that more is better; None where any is not known."""
        return _oriented(self.other, self.metric)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of candidate minus the other, at the confidence that decides."""
        if self.found is None:
            return None
        _, low, high = self.shown(self.found)
        return (-high, -low) if get_metric(self.metric).lower_is_better else (low, high)

    def decide(self, found: Found) -> Outcome:
        """By `found` as above."""
        if self.mode == "better" or (self.strict and found[1] > 0):
            return is_better(*found)
        effective = self.other.effective_rows.get(self.metric)
        difference, low, _ = self.at_confidence(found)
        return is_not_worse(difference, low, found[2], self.margin, effective, self.confidence)

    def at_confidence(self, found: Found) -> Found:
        """`found` with the interval that decides."""
        return stretch(found, self.config.confidence, self.confidence, self.other.differing) if self.strict else found

    def shown(self, found: Found) -> Found:
        """`found` as reported: where it is the number of rows that leaves it open, the interval reaches as far as they do,
        and never further than the metric's range is wide."""
        difference, low, high = self.at_confidence(found)
        if self.mode != "better" and self.decide(found) == "inconclusive":
            gap = least_gap(self.margin, self.other.effective_rows.get(self.metric), self.confidence)
            low = min(low, difference - gap)
        metric = get_metric(self.metric)
        width = metric.high - metric.low
        return difference, max(low, -width), min(high, width)


def _line(line: Comparison, value: float | None) -> RuleResult:
    """A comparison, decided."""
    other, theirs, lower = line.other, line.theirs, get_metric(line.metric).lower_is_better
    threshold = theirs
    if line.mode != "better" and theirs is not None:
        threshold = theirs + line.margin if lower else theirs - line.margin
    outcome, detail = _decide(line, value)
    scored = "" if theirs is None else f": {figure_text(theirs, line.metric)}"
    named = "champion version" if line.who == "the champion" else "best champion so far, version"
    return RuleResult(
        rule=f"{line.metric} {'better than' if line.mode == 'better' else 'not worse than'} {line.who}",
        metric=line.metric,
        value=value,
        threshold=threshold,
        baseline=f"{named} {other.version}{scored}",
        n=other.rows,
        clusters=other.clusters,
        outcome=outcome,
        detail=f"{detail}{describe_rows(other, line.who)}",
        sentence=_say(line, outcome, value),
        interval=line.interval,
    )


def _say(line: Comparison, outcome: Outcome, value: float | None) -> str:
    if value is None or (line.found is None and line.other.rows >= line.config.min_rows):
        return say_undefined(line.metric)
    return say_comparison(line.mode, outcome, line.other, line.who != "the champion", line.metric, line.margin)


def _decide(line: Comparison, value: float | None) -> tuple[Outcome, str]:
    metric, other, who, theirs, found = line.metric, line.other, line.who, line.theirs, line.found
    if value is None:
        return "fail", f"{metric} is not defined on these test rows"
    figure = figure_text(value, metric)
    if other.rows < line.config.min_rows:
        rows = "1 test row" if other.rows == 1 else f"{other.rows} test rows"
        return "inconclusive", f"{rows} to compare with {who} on, fewer than {line.config.min_rows} (gate.min_rows)"
    if theirs is not None and found is None and other.clusters is not None and other.clusters < MIN_CLUSTERS:
        return "inconclusive", f"{metric} {figure} cannot be compared with {who}: {say_too_few(other.clusters)}"
    if theirs is None or found is None:
        return "inconclusive", f"{metric} {figure} cannot be compared: {who} has none on these test rows"
    outcome = line.decide(found)
    difference, low, _ = line.at_confidence(found)
    _, least, most = line.shown(found)
    bounds = (-most, -least) if get_metric(metric).lower_is_better else (least, most)
    gained, worst, best = (figure_text(number, metric, sign=True) for number in (other.differences[metric][0], *bounds))
    detail = f"{metric} {figure} against {who}'s {figure_text(theirs, metric)} (difference {gained} [{worst}, {best}]"
    detail += f" at {100 * line.confidence:.4g} %" if line.strict else ""
    if line.mode == "better":
        doubt = "" if outcome != "inconclusive" else ": no gain is shown"
        return outcome, f"{detail}){doubt}"
    detail += f", margin {short_number(line.margin)})"
    return outcome, detail if outcome != "inconclusive" else f"{detail}: {_what_is_missing(line, difference, low)}"


def _what_is_missing(line: Comparison, difference: float, low: float) -> str:
    """Why a loss of the margin is not ruled out, and how many rows would be enough."""
    margin, rows = line.margin, line.other.rows
    z = NormalDist().inv_cdf((1 + line.confidence) / 2)
    half = max(difference - low, least_gap(margin, line.other.effective_rows.get(line.metric), line.confidence))
    why = f"a loss of {short_number(margin)} or more is not ruled out"
    if line.other.clusters is not None and line.other.clusters < MIN_CLUSTERS:
        return f"{why}: {say_too_few(line.other.clusters)}"
    why += ", as a model that loses so much often agrees on so few rows" if low > -margin else ""
    if margin == 0 or half == 0:
        return why
    metric = get_metric(line.metric)
    if low <= metric.low - metric.high:  # all of the range: its width says nothing about more rows
        return f"{why}: the two models differ on too few of these rows; see crossmodal gate power"
    enough = rows * (half / margin * (1 + NormalDist().inv_cdf(POWER) / z)) ** 2
    if enough <= rows:
        return f"{why}, and would be of a model as good on {rows:,} rows"
    return f"{why}; of a model as good it would be on about {_rounded_up(enough):,} such rows"


def _rounded_up(rows: float) -> int:
    """With two digits."""
    digit = int(10 ** max(len(str(int(rows))) - 2, 0))
    return math.ceil(rows / digit) * digit


def _regressions(losses: SliceRegressions, champion: Pairing, config: GateConfig, metric: str) -> RuleResult:
    """Whether any part of the rows is worse. It does not depend on gate.confidence: more of it must not let more pass."""
    what = "class, set of modalities or slice" if losses.columns else "class or set of modalities"
    worse = [part for part in losses.parts if part.lost or part.p <= config.slice_alpha]
    if worse:
        named = ", ".join(map(_loss_text, worse[:3]))
        detail = f"worse than the champion on {named}{' and others' if len(worse) > 3 else ''}"
    elif losses.tested:
        detail = f"no {what} is significantly worse ({losses.tested} tested, Holm)"
    else:
        detail = f"no {what} was tested"
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
        sentence=say_regressions(losses, [_part_text(part) for part in worse]),
    )


def _part_text(part: SliceRegression) -> str:
    return f"class {part.value!r}" if part.by == "class" else f"rows with {part.value}"


def _loss_text(part: SliceRegression) -> str:
    what = _part_text(part)
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
        sentence=say_undefined(metric) if value is None else FIRST,
    )


def _oriented(other: Pairing, metric: str) -> Found | None:
    """Difference, low and high so that more is better; None where any is not known."""
    found = other.differences.get(metric)
    if found is None or any(defined(number) is None for number in found):
        return None
    difference, low, high = found
    return (-difference, -high, -low) if get_metric(metric).lower_is_better else found
