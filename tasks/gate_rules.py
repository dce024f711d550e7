"""What a rule of the gate may ask of a metric: its key in the config, and the pure function that decides it, in one file.

Another rule is a field of `Rule`, a function, and its line in RULES. NaN and None never pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from data_contracts.modalities import INPUTS, in_order
from tasks.config_sections import Section, tidy_slice
from tasks.modalities import MODALITIES, all_corruptions
from tasks.number_format import number_text
from tasks.problems.metric import TOO_FEW_ROWS, Interval, Metric
from tasks.problems.registry import all_metric_names, get_metric, unknown_name

EVERY = "*"
"""In a rule's slice: each value with enough rows."""
BY_MODALITIES = "modalities"
"""The built-in slice by what is present in a row; by the size of an input it is NAME.size."""
Outcome = Literal["pass", "fail", "inconclusive"]


def _known_metric(name: str) -> str:
    return name if name == "auto" else get_metric(name).name


MetricName = Annotated[
    str, AfterValidator(_known_metric), WithJsonSchema({"type": "string", "enum": ["auto", *all_metric_names()]})
]
"""`auto`, or a metric of tasks.problems.registry."""


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("takes a number")  # else true is 1
    return value


Bound = Annotated[float, BeforeValidator(_no_switch)]


def size_slice(name: str) -> str:
    """The built-in slice by the size of an input."""
    return f"{name}.size"


def is_built_in(slice_name: str) -> bool:
    """Whether a slice is there without columns of the manifest."""
    return slice_name in (BY_MODALITIES, *map(size_slice, INPUTS))


class Rule(Section):
    """One rule of the gate: a metric must reach `min`, stay within `max`, lose at most `max_drop`, or beat the best answer that
    is always the same."""

    metric: MetricName
    """auto: accuracy, mean_ap or mae, by the problem."""
    min: Bound | None = None
    """The least that the figure may be."""
    max: Bound | None = None
    """The most."""
    max_drop: Annotated[Bound, Field(ge=0)] | None = None
    """How much worse than the champion's on the same rows it may be, in its unit; with `modalities`: than with all of them."""
    above_majority: bool = False
    """The answer that is always the same: the most frequent class, or the mean of the train rows."""
    column: str = ""
    """The label column, where there are several; empty: the first."""
    slice: str = ""
    """The rows with one value of a slice (speaker=ann), or each value with enough rows (speaker=*)."""
    modalities: str = ""
    """All rows, of which the model is given these modalities only (image, image+text)."""
    corruption: str = ""
    """Rows whose media are corrupted so (image/noise, audio/telephone), see evaluate.robustness; with `severity`."""
    severity: Annotated[int, Field(ge=1, le=5, strict=True)] | None = None
    """Of the corruption: 1 mild, 5 severe."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """The end of the interval decides, not the figure: what lies between is inconclusive."""
    support: Annotated[int, Field(ge=1, le=10**9, strict=True)] | None = None
    """Test rows without which the rule is inconclusive; of NAME=* such values are left out. None: of a slice
    gate.min_slice_rows."""
    outcome: Literal["reject", "needs-approval"] = "reject"
    """Of a candidate that does not pass the rule: rejected, or a person decides, as under gate.approval = required."""

    @property
    def asked(self) -> list[str]:
        """The keys of RULES that it gives a value."""
        return [key for key in RULES if getattr(self, key) is not None and getattr(self, key) is not False]

    @property
    def slice_name(self) -> str:
        """`speaker` of `speaker=ann`."""
        return self.slice.partition("=")[0]

    @property
    def slice_value(self) -> str:
        """`ann` of `speaker=ann`."""
        return self.slice.partition("=")[2]

    @property
    def is_of_parts(self) -> bool:
        """Whether it is about more than the figures on all rows and their 95 % intervals."""
        named = self.slice or self.modalities or self.corruption or self.confidence or self.support
        return bool(named) or self.max_drop is not None

    @field_validator("slice")
    @classmethod
    def _names_a_value(cls, text: str) -> str:
        name, equals, value = text.partition("=")
        if text and not (equals and name.strip() and value.strip()):
            raise ValueError("write NAME=VALUE, or NAME=* for each value: speaker=ann")
        return f"{tidy_slice(name)}={value.strip()}" if text else ""

    @field_validator("modalities")
    @classmethod
    def _names_inputs(cls, text: str) -> str:
        names = [name.strip() for name in text.split("+")] if text else []
        for name in names:
            if name not in INPUTS:
                raise ValueError(unknown_name(name, "modality", INPUTS))
        return "+".join(in_order(names))

    @field_validator("corruption")
    @classmethod
    def _is_known(cls, name: str) -> str:
        known = all_corruptions(tuple(MODALITIES))
        if name and name not in known:
            raise ValueError(unknown_name(name, "corruption", known))
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Rule:
        if sum(map(bool, (self.slice, self.modalities, self.corruption))) > 1:
            raise ValueError("a rule takes one of slice, modalities and corruption; write two rules")
        if bool(self.corruption) != (self.severity is not None):
            raise ValueError('corruption and severity go together: corruption = "image/noise", severity = 3')
        if (self.above_majority or self.column) and self.is_of_parts:
            which = "above_majority" if self.above_majority else "column"
            raise ValueError(
                f"{which} goes with none of slice, modalities, corruption, confidence, support and max_drop"
            )
        return self

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Rule:
        if len(self.asked) != 1:
            *others, last = (f"{key} = true" if RULES[key].is_switch else key for key in RULES)
            raise ValueError(f"a rule takes one of {', '.join(others)} and {last}")
        (key,) = self.asked
        if RULES[key].needs_baseline and self.metric != "auto" and get_metric(self.metric).baseline is None:
            *others, last = (name for name in all_metric_names() if get_metric(name).baseline is not None)
            raise ValueError(f"{key} is defined for {', '.join(others)} and {last} only")
        return self


@dataclass(frozen=True)
class Reference:
    """What a figure is held against on the same rows."""

    name: str
    """`the champion`, `with all modalities`."""
    owner: str
    """`the champion's`."""
    baseline: str
    """`champion version 3`."""
    value: float | None
    change: float | None
    """The figure minus this, on those rows."""
    interval: Interval | None
    """Of the change, at the rule's confidence."""


@dataclass(frozen=True)
class Figure:
    """A metric of one label column on test rows."""

    name: str
    """`macro_f1`, of a further label column `column.macro_f1`."""
    metric: Metric[Any, Any]
    value: float | None
    interval: Interval | None
    constant: float | None
    """What one and the same answer to every row scores."""
    where: str = ""
    """` on speaker=ann`, ` with image only`; nothing: on all rows with all modalities."""
    confidence: float | None = None
    """Of the interval, where its end decides."""
    reference: Reference | None = None
    few_clusters: str | None = None
    """What is said where there are too few clusters for an interval."""

    @property
    def no_interval(self) -> str:
        """Why there is none."""
        return f"there are {TOO_FEW_ROWS}" if self.few_clusters is None else self.few_clusters

    @property
    def said(self) -> str:
        """`accuracy on speaker=ann`."""
        return self.name + self.where

    @property
    def sure(self) -> str:
        """` at 95 %`, where the end of the interval decides."""
        return "" if self.confidence is None else f" at {100 * self.confidence:.4g} %"

    @property
    def bounds(self) -> str:
        """` [0.870, 0.930]`, nothing where there is no interval."""
        return "" if self.interval is None else f" [{self.text(self.interval[0])}, {self.text(self.interval[1])}]"

    def text(self, value: float, beside: float | None = None) -> str:
        """A figure in the metric's unit."""
        return self.metric.text(value, beside=beside)


@dataclass(frozen=True)
class Decided:
    """What a rule found."""

    rule: str
    """As the gate's table calls it: `macro_f1 >= 0.84`."""
    outcome: Outcome
    detail: str
    threshold: float | None
    baseline: str
    """What the threshold is."""
    sentence: str
    """The outcome for somebody who knows no statistics."""
    interval: Interval | None = None
    """Of what was decided by, where it is not the figure itself."""


@dataclass(frozen=True)
class RuleKind:
    """One way to check a figure."""

    decide: Callable[[Figure, float], Decided]
    """By the figure and the value of the rule's key."""
    is_switch: bool = False
    """Whether the key is true or not there."""
    needs_baseline: bool = False


def decide_rule(rule: Rule, figure: Figure) -> Decided:
    """The rule, decided."""
    (key,) = rule.asked
    return RULES[key].decide(figure, float(getattr(rule, key)))


def _minimum(figure: Figure, limit: float) -> Decided:
    """The figure itself counts, as the limit's author would read it: the interval is reported, and decides where the rule has a
    confidence."""
    passes = figure.value is not None and figure.value >= limit
    low = None if figure.interval is None else figure.interval[0]
    outcome, doubt = _sure_of(figure, passes, low is not None and low >= limit)
    detail = _within(figure, limit, ">=" if passes else "<") + doubt
    said = _say_limit(figure, limit, "at least", "reaches" if passes else "is below", outcome)
    return Decided(
        f"{figure.said} >= {number_text(limit)}{figure.sure}", outcome, detail, limit, "absolute minimum", said
    )


def _maximum(figure: Figure, limit: float) -> Decided:
    """As `_minimum`."""
    passes = figure.value is not None and figure.value <= limit
    high = None if figure.interval is None else figure.interval[1]
    outcome, doubt = _sure_of(figure, passes, high is not None and high <= limit)
    detail = _within(figure, limit, "<=" if passes else ">") + doubt
    said = _say_limit(figure, limit, "at most", "stays within" if passes else "is above", outcome)
    return Decided(
        f"{figure.said} <= {number_text(limit)}{figure.sure}", outcome, detail, limit, "absolute maximum", said
    )


def _sure_of(figure: Figure, passes: bool, bound_passes: bool) -> tuple[Outcome, str]:
    """The outcome where the figure passes and the end of its interval does, and what is in doubt."""
    if not passes:
        return "fail", ""
    if figure.confidence is None or bound_passes:
        return "pass", ""
    few = figure.interval is None
    return (
        "inconclusive",
        f", but {figure.no_interval}" if few else f", but its interval{figure.sure} reaches beyond",
    )


def _say_limit(figure: Figure, limit: float, asked: str, verb: str, outcome: Outcome) -> str:
    title = figure.metric.title + figure.where
    if figure.value is None:
        return f"{title} cannot be computed on these test rows."
    text = figure.text(figure.value, beside=limit)
    if outcome == "inconclusive":
        return f"{title} is {text}, but too few test rows show that it is {asked} {number_text(limit)} on others, too."
    return f"{title} is {text}: that {verb} the {number_text(limit)} that is asked for ({asked})."


def _within(figure: Figure, limit: float, sign: str) -> str:
    if figure.value is None:
        return f"{figure.said} is not defined on these test rows"
    return f"{figure.said} {figure.text(figure.value, beside=limit)}{figure.bounds} {sign} {number_text(limit)}"


def _max_drop(figure: Figure, limit: float) -> Decided:
    """How much worse the figure is than its reference counts; where the rule has a confidence, the end of that interval."""
    name, other, lower = figure.said, figure.reference, figure.metric.lower_is_better
    allowed = number_text(limit)
    if other is None:
        found = f"{name} is not defined on these test rows"
        if figure.value is not None:
            found = f"{name} {figure.text(figure.value)}; no champion to compare with"
        outcome: Outcome = "fail" if figure.value is None else "pass"
        said = "This is the first model: there is none in production to compare it with."
        rule = f"{name} at most {allowed} worse than the champion{figure.sure}"
        return Decided(rule, outcome, found, None, "no champion yet", said)
    rule = f"{name} at most {allowed} worse than {other.name}{figure.sure}"
    title = figure.metric.title + figure.where
    if figure.value is None or other.value is None or other.change is None:
        found = f"{name} cannot be compared with {other.owner} on these test rows"
        said = f"{title} cannot be compared."
        return Decided(rule, "inconclusive", found, None, other.baseline, said)
    drop = other.change if lower else -other.change
    most = math.inf if other.interval is None else other.interval[1] if lower else -other.interval[0]
    passes = drop <= limit
    # Where no row differs, nothing says how much others may.
    same = other.interval is not None and other.interval[0] == other.interval[1]
    outcome, doubt = _sure_of(figure, passes, most <= limit and not same)
    if outcome == "inconclusive":  # by the interval of the difference, not by the figure's
        few = other.interval is None
        doubt = f", but {figure.no_interval}" if few else f", but its interval{figure.sure} reaches beyond"
    text, base = figure.text(figure.value), figure.text(other.value)
    signed = [figure.metric.text(end, sign=True) for end in other.interval or ()]
    ends = f" [{', '.join(signed)}]" if signed else ""
    change = figure.metric.text(other.change, sign=True)
    detail = f"{name} {text} against {other.owner} {base} (difference {change}{ends}, at most {allowed} lost){doubt}"
    verdict = {
        "pass": "the loss stays within",
        "fail": "the loss exceeds",
        "inconclusive": "too few test rows show that the loss stays within",
    }[outcome]
    said = f"{title} is {text}, {other.owner} {base}: {verdict} the {allowed} that are allowed."
    threshold = other.value + limit if lower else other.value - limit
    return Decided(rule, outcome, detail, threshold, f"{other.baseline}: {base}", said, other.interval)


def _above_majority(figure: Figure, _: float) -> Decided:
    """A statistical claim: the whole interval must lie on the better side of what one and the same answer scores.

    A figure that is better with an interval that reaches it, or without an interval, is inconclusive.
    """
    same = figure.metric.baseline
    if same is None:
        raise ValueError(f"{figure.name} has no baseline to beat")  # which the config refuses
    outcome, detail = _beats(figure, same.value, same.limit)
    said = {
        "pass": "The model answers better than one and the same answer to every row would.",
        "fail": "The model answers no better than one and the same answer to every row would.",
        "inconclusive": "It is not certain that the model answers better than one and the same answer to every row would.",
    }[outcome]
    return Decided(f"{figure.name} {same.rule}", outcome, detail, figure.constant, same.answer, said)


def _beats(figure: Figure, what: str, limit: str) -> tuple[Outcome, str]:
    name, value, constant, lower = figure.name, figure.value, figure.constant, figure.metric.lower_is_better
    if value is None or constant is None:
        return "fail", f"{name} or {what} is not defined on these test rows"
    sign, relation = (-1, "<") if lower else (1, ">")
    (text, *ends), base = figure.metric.texts([value, *(figure.interval or ())], constant)
    bounds = f" [{', '.join(ends)}]" if ends else ""
    if sign * value <= sign * constant:
        verb = "stay below" if lower else "exceed"
        return "fail", f"{name} {text}{bounds} does not {verb} {base}, {limit}"
    if figure.interval is None:
        return "inconclusive", f"{name} {text} {relation} {what} {base}, but {figure.no_interval}"
    nearest = figure.interval[1] if lower else figure.interval[0]
    if sign * nearest > sign * constant:
        return "pass", f"{name} {text}{bounds} {relation} {what} {base}"
    return "inconclusive", f"{name} {text}, but its interval{bounds} reaches the {what} {base}"


RULES: Mapping[str, RuleKind] = MappingProxyType(
    {
        "min": RuleKind(_minimum),
        "max": RuleKind(_maximum),
        "max_drop": RuleKind(_max_drop),
        "above_majority": RuleKind(_above_majority, is_switch=True, needs_baseline=True),
    }
)
"""Key of a rule to how it is decided."""
