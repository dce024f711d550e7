"""What a rule of the gate may ask of a metric: its key in the config, and the pure function that decides it, in one file.

Another rule is a field of `Rule`, a function, and its line in RULES. NaN and None never pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, WithJsonSchema, model_validator

from tasks.config_sections import Section
from tasks.number_format import number_text
from tasks.problems.metric import TOO_FEW_ROWS, Interval, Metric
from tasks.problems.registry import all_metric_names, get_metric

Outcome = Literal["pass", "fail", "inconclusive"]


def _known_metric(name: str) -> str:
    return name if name == "auto" else get_metric(name).name


MetricName = Annotated[
    str, AfterValidator(_known_metric), WithJsonSchema({"type": "string", "enum": ["auto", *all_metric_names()]})
]
"""`auto`, or a metric of tasks.problems.registry."""


class Rule(Section):
    """One rule of the gate: a metric must reach `min`, stay within `max`, or beat the best answer that is always the same."""

    metric: MetricName
    """auto: accuracy, mean_ap or mae, by the problem."""
    min: float | None = None
    max: float | None = None
    above_majority: bool = False
    """The answer that is always the same: the most frequent class, or the mean of the train rows."""
    column: str = ""
    """The label column, where there are several; empty: the first."""
    outcome: Literal["reject", "needs-approval"] = "reject"
    """Of a candidate that does not pass the rule: rejected, or a person decides, as under gate.approval = required."""

    @property
    def asked(self) -> list[str]:
        """The keys of RULES that it gives a value."""
        return [key for key in RULES if getattr(self, key) is not None and getattr(self, key) is not False]

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
class Figure:
    """A metric of one label column on the test rows."""

    name: str
    """`macro_f1`, of a further label column `column.macro_f1`."""
    metric: Metric[Any, Any]
    value: float | None
    interval: Interval | None
    constant: float | None
    """What one and the same answer to every row scores."""

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
    """The figure itself counts, as the limit's author would read it: the interval is reported but does not decide."""
    passes = figure.value is not None and figure.value >= limit
    outcome, detail = _within(figure, limit, passes, ">=" if passes else "<")
    said = _say_limit(figure, limit, "at least", "reaches" if passes else "is below")
    return Decided(f"{figure.name} >= {number_text(limit)}", outcome, detail, limit, "absolute minimum", said)


def _maximum(figure: Figure, limit: float) -> Decided:
    """As `_minimum`."""
    passes = figure.value is not None and figure.value <= limit
    outcome, detail = _within(figure, limit, passes, "<=" if passes else ">")
    said = _say_limit(figure, limit, "at most", "stays within" if passes else "is above")
    return Decided(f"{figure.name} <= {number_text(limit)}", outcome, detail, limit, "absolute maximum", said)


def _say_limit(figure: Figure, limit: float, asked: str, verb: str) -> str:
    title = figure.metric.title
    if figure.value is None:
        return f"{title} cannot be computed on these test rows."
    text = figure.text(figure.value, beside=limit)
    return f"{title} is {text}: that {verb} the {number_text(limit)} that is asked for ({asked})."


def _within(figure: Figure, limit: float, passes: bool, sign: str) -> tuple[Outcome, str]:
    if figure.value is None:
        return "fail", f"{figure.name} is not defined on these test rows"
    text = figure.text(figure.value, beside=limit)
    return ("pass" if passes else "fail"), f"{figure.name} {text}{figure.bounds} {sign} {number_text(limit)}"


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
        return "inconclusive", f"{name} {text} {relation} {what} {base}, but there are {TOO_FEW_ROWS}"
    nearest = figure.interval[1] if lower else figure.interval[0]
    if sign * nearest > sign * constant:
        return "pass", f"{name} {text}{bounds} {relation} {what} {base}"
    return "inconclusive", f"{name} {text}, but its interval{bounds} reaches the {what} {base}"


RULES: Mapping[str, RuleKind] = MappingProxyType(
    {
        "min": RuleKind(_minimum),
        "max": RuleKind(_maximum),
        "above_majority": RuleKind(_above_majority, is_switch=True, needs_baseline=True),
    }
)
"""Key of a rule to how it is decided."""


def defined(value: float | None) -> float | None:
    """The value, or None where it is not a finite number."""
    return value if value is not None and math.isfinite(value) else None
