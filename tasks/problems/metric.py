"""What a metric is: one row with its name, direction, range, unit, interval and baseline, and the function that computes it.

Everything else that knows metrics (the config, the gate, reports, MLflow) reads these rows; tasks.problems.registry has them
all. A problem's rows stand beside the functions that they name, so a new metric is one row and one function in one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.number_format import short_number

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Probabilities = NDArray[np.floating[Any]]
Interval = tuple[float, float]

Unit = Literal["share", "score", "number"]
"""share: shown in percent. score: without a unit. number: in the unit of the numbers to predict, of any size."""
IntervalMethod = Literal[
    "bootstrap", "wilson", "like-share", "logit", "fisher", "hall", "hall-root", "log-rest", "root-mean-square"
]
"""bootstrap: percentiles over resampled rows. wilson: of a share of rows. The others start from the figure's estimate, see
tasks/problems/intervals.py. like-share: Wilson's with the number of rows that would be as uncertain. logit: of an area or a
mean between 0 and 1. fisher: of a correlation. hall: of a mean of skewed values. hall-root: of the root of one. log-rest: of
1 minus a ratio of means. root-mean-square: of gaps behind noise."""
TOO_FEW_ROWS = "too few rows for an interval"
"""What stands where a figure has no interval."""
Rows = TypeVar("Rows")
Counts = TypeVar("Counts")
_MAX_DIGITS = 17
"""Digits that tell any two doubles apart."""


@dataclass(frozen=True)
class Estimate:
    """A figure, and what is known of how it varies."""

    value: float
    influence: Floats
    """(N,) each row's influence on the figure: their mean square, over N, is its variance where N is large."""
    variance: float
    """Of the figure, smoothed; where there is a `square`, what of it is chance."""
    bias: float = 0.0
    """How far the figure is off on average."""
    freedom: float = inf
    """Degrees of freedom of the variance."""
    enough: bool = True
    """Whether the rows suffice for an interval."""
    square: float = 0.0
    """Of a root mean square: the mean square before chance is taken off."""


@dataclass(frozen=True)
class Baseline:
    """One and the same answer to every row, as the gate and the report word it."""

    rule: str
    """What the gate's rule is called, after the metric's name: `above majority`."""
    answer: str
    """`always the most frequent class`."""
    value: str
    """What the answer scores: `majority share`."""
    limit: str
    """The same as a limit: `the share of the largest class`."""
    sentence: str
    """For the report, with a place for the figure."""


@dataclass(frozen=True)
class Metric(Generic[Rows, Counts]):
    """One metric of one problem. `Rows` are the scored rows, `Counts` what is known of R resamples of them."""

    name: str
    """As in the config, the summary and MLflow: `macro_f1`."""
    title: str
    """As in the report: `Macro F1`."""
    compute: Callable[[Counts], Floats] | None
    """(R,) its value on each of R resamples, NaN where it is not defined; None where only `estimate` computes it, as for what
    would need a sort in every resample."""
    estimate: Callable[[Rows], Estimate | None] | None = None
    """Its value on all rows, and how it varies; None where it is not defined."""
    interval: IntervalMethod = "bootstrap"
    low: float = 0.0
    high: float = 1.0
    """The range in which it can lie."""
    unit: Unit = "share"
    lower_is_better: bool = False
    baseline: Baseline | None = None
    """None: a rule of the gate cannot compare it with the best constant answer."""
    by_class: bool = False
    """Whether it is a mean over classes or labels, in which the rows of a rare one weigh more."""
    compact: bool = True
    """Whether tables that have one column a metric show it: the terminal's, and the model card's by modalities."""
    holds: Callable[[Rows], NDArray[np.bool_]] | None = None
    """Of a share of the rows: (N,) those of which it is the share."""

    @property
    def margin_is_relative(self) -> bool:
        """Whether gate.margin is a share of the champion's figure: an error in the unit of the numbers may be of any size."""
        return self.unit == "number"

    @property
    def phrase(self) -> str:
        """The title inside a sentence: `micro F1`."""
        return self.title if self.title.isupper() else self.title[0].lower() + self.title[1:]

    def clip(self, bounds: Interval) -> Interval:
        """The part of an interval in which the metric can lie."""
        return max(bounds[0], self.low), min(bounds[1], self.high)

    def text(self, value: float, sign: bool = False, beside: float | None = None, decimals: int = 3) -> str:
        """`0.900` for a share or a score, `0.0004213` or `123457` for a number in its own unit.

        With `beside`, a number that the figure is compared with: as many more digits as it takes for the text to lie on the
        same side of it as the figure. So 0.89996 < 0.9 is not shown as 0.900 < 0.9.
        """
        text = ""
        for places in range(decimals, _MAX_DIGITS + 1):
            own = self.unit == "number"
            text = short_number(value, sign, places + 1) if own else f"{value:{'+' if sign else ''}.{places}f}"
            if beside is None or _side(float(text), beside) == _side(value, beside):
                break
        return text

    def texts(self, values: Sequence[float], other: float) -> tuple[list[str], str]:
        """Figures, and a number that all of them are compared with, as short as they stay distinct: each text lies on the
        same side of the number's text as its figure of the number, and equal ones have one text.
        """
        base = ""
        for places in range(3, _MAX_DIGITS + 1):
            base = self.text(other, decimals=places)
            shown = float(base)
            if all(value == other or _side(value, shown) == _side(value, other) for value in values):
                break
        return [base if value == other else self.text(value, beside=float(base)) for value in values], base


def _side(value: float, other: float) -> int:
    return (value > other) - (value < other)
