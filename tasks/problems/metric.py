"""What a metric is: one row with its name, direction, range, unit, interval and baseline, and the function that computes it.

Everything else that knows metrics (the config, the gate, reports, MLflow) reads these rows; tasks.problems.registry has them
all. A problem's rows stand beside the functions that they name, so a new metric is one row and one function in one file.
"""

from __future__ import annotations

from collections.abc import Callable
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
IntervalMethod = Literal["bootstrap", "wilson", "influence"]
"""bootstrap: percentiles over resampled rows. wilson: of a share of rows. influence: the standard error from each row's
influence on the figure (DeLong), for what would need a sort in every resample."""
Rows = TypeVar("Rows")
Counts = TypeVar("Counts")
_MOST_DIGITS = 17
"""Digits that tell any two doubles apart."""


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
    """(R,) its value on each of R resamples, NaN where it is not defined; None where only `influence` computes it."""
    influence: Callable[[Rows], tuple[float | None, Floats]] | None = None
    """Its value on all rows, and each row's influence on it (N,)."""
    interval: IntervalMethod = "bootstrap"
    low: float = 0.0
    high: float = 1.0
    """The range in which it can lie."""
    unit: Unit = "share"
    lower_is_better: bool = False
    baseline: Baseline | None = None
    """None: a rule of the gate cannot compare it with the best constant answer."""
    resampled_cells: float = inf
    """Rows x outputs up to which it is resampled; of more it has no interval."""
    reads_probabilities: bool = False
    """Whether it may differ where no answer does."""
    by_class: bool = False
    """Whether it is a mean over classes or labels, in which the rows of a rare one weigh more."""
    compact: bool = True
    """Whether tables that have one column a metric show it: the terminal's, and the model card's by modalities."""

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
        for places in range(decimals, _MOST_DIGITS + 1):
            own = self.unit == "number"
            text = short_number(value, sign, places + 1) if own else f"{value:{'+' if sign else ''}.{places}f}"
            if beside is None or _side(float(text), beside) == _side(value, beside):
                break
        return text


def _side(value: float, other: float) -> int:
    return (value > other) - (value < other)
