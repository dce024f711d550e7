"""How figures vary that are counted: rows by class or label, those answered with it, and those answered with it rightly.

One figure is a function of these counts, and each row adds to few of them: to the support of its class, to the answers with
another one, to the hits. So its influence (the delta method, as for F1 in Takahashi et al. 2022) is a sum of three numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np

from tasks.problems.intervals import MIN_ROWS
from tasks.problems.metric import Estimate, Floats, Probabilities


@dataclass(frozen=True)
class Table:
    """Counts over N rows, all (C,)."""

    rows: int
    hits: Floats
    """Rows that are of the class and answered with it."""
    support: Floats
    """Rows that are of it."""
    answers: Floats
    """Rows that are answered with it."""

    @property
    def occurs(self) -> Floats:
        """1 for a class in the truth or among the answers, else 0."""
        return (self.support + self.answers > 0).astype(np.float64)


@dataclass(frozen=True)
class Effects:
    """A figure, and what it gains by one more row in a count, times N; all (C,)."""

    value: float
    support: Floats
    answers: Floats
    hits: Floats
    least: float
    """The fewest rows that any part of it rests on."""
    by: Literal["support", "answers"] = "support"
    """Of which the hits are a share."""
    bias: float = 0.0


class Counted(Protocol):
    """What estimates read of any scorer that counts rows by class or label."""

    @property
    def probabilities(self) -> Probabilities:
        """(N, C)"""

    @property
    def table(self) -> Table:
        """Counts over all rows."""

    @property
    def rows(self) -> int:
        """N."""


Scorer = TypeVar("Scorer", bound=Counted)


def estimate_counts(
    effects: Callable[[Table], Effects], influence: Callable[[Scorer, Effects], Floats]
) -> Callable[[Scorer], Estimate]:
    """The estimate of a figure that is computed from counts; `influence` sums up each row's effects (N,)."""
    return lambda scored: estimate_from(effects, scored.table, lambda found: influence(scored, found))


def recall_effects(table: Table) -> Effects:
    """Macro recall."""
    return _share_effects(table, "support")


def precision_effects(table: Table) -> Effects:
    """Macro precision."""
    return _share_effects(table, "answers")


def f1_effects(table: Table) -> Effects:
    """Macro F1. With J = hits / (support + answers - hits), F1 is 2 J / (1 + J): a bent curve, whose mean over draws lies below
    its value at the mean by half its second derivative times the variance of J."""
    both, classes = table.support + table.answers, max(float(table.occurs.sum()), 1.0)
    f1 = _ratio(2 * table.hits, both)
    gain = _ratio(np.full(len(both), float(table.rows)), both) / classes
    union = both - table.hits
    shared = _ratio(table.hits, union)
    bend = -2 * shared * (1 - shared) / (1 + shared) ** 3 / np.maximum(union - 1, 1)
    value, bias = float(f1.sum() / classes), float(bend.sum() / classes)
    return Effects(value, -f1 * gain, -f1 * gain, 2 * gain, _least(table, table.support), bias=bias)


def matthews_effects(table: Table) -> Effects:
    """The correlation of truth and answer over C classes (Gorodkin 2004); 0 where either has one class only."""
    hits, support, answers = (counts / table.rows for counts in (table.hits, table.support, table.answers))
    spread, other = 1 - float(support @ support), 1 - float(answers @ answers)
    root = np.sqrt(max(spread * other, 0.0))
    if root == 0:
        nothing = np.zeros(len(hits))
        return Effects(0.0, nothing, nothing, nothing, least=0)
    value = float((hits.sum() - support @ answers) / root)
    ours, theirs = -answers / root + value * support / spread, -support / root + value * answers / other
    middle = float(support @ ours + answers @ theirs + hits.sum() / root)
    least = table.rows - max(float(table.support.max()), float(table.answers.max()))  # beside the largest class
    return Effects(value, ours - middle, theirs, np.full(len(hits), 1 / root), least)


def estimate_from(
    effects: Callable[[Table], Effects], table: Table, influence: Callable[[Effects], Floats]
) -> Estimate:
    """The figure's estimate; `influence` sums up each row's effects (N,).

    The variance is that of the influence plus what it lacks by chance: of a class of which all rows, or none, are right,
    nothing seems to vary. Its share of hits is drawn towards that of all classes by one row, and towards 1/2 by 4 rows that
    all classes share (Price & Bonett 2004, who add as many for a sum of shares of independent samples).
    """
    found = effects(table)
    each = influence(found)
    of_answers = found.by == "answers"
    size, other = (table.answers, table.support) if of_answers else (table.support, table.answers)
    along = found.support if of_answers else found.answers
    total = max(float(size.sum()), 1.0)
    overall, classes = float(table.hits.sum() + 1) / (total + 2), max(float(table.occurs.sum()), 1.0)
    share = _ratio(table.hits, size)
    smoothed = (table.hits + overall + 2 / classes) / (size + 1 + 4 / classes)
    # From right to wrong, a row loses the hit, and its other count goes to another class.
    step = found.hits + along - float(other @ along) / max(float(other.sum()), 1.0)
    lacking = np.maximum(smoothed * (1 - smoothed) - share * (1 - share), 0.0) * size * step**2
    rows = table.rows
    variance = float(np.square(each).sum() + lacking.sum()) / rows**2
    return Estimate(found.value, each, variance, bias=found.bias, enough=found.least >= MIN_ROWS)


def _share_effects(table: Table, by: Literal["support", "answers"]) -> Effects:
    size = table.support if by == "support" else table.answers
    classes = max(float(table.occurs.sum()), 1.0)
    share = _ratio(table.hits, size)
    gain = _ratio(np.full(len(size), float(table.rows)), size) / classes
    nothing = np.zeros(len(size))
    lost = -share * gain
    value, least = float(share.sum() / classes), _least(table, np.minimum(table.support, size))
    support, answers = (nothing, lost) if by == "answers" else (lost, nothing)
    return Effects(value, support, answers, gain, least, by)


def _least(table: Table, counts: Floats) -> float:
    """The smallest count of a class that occurs; 0 where none does."""
    found = counts[table.occurs > 0]
    return float(found.min()) if len(found) else 0.0


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    found: Floats = np.divide(numerator, denominator, out=np.zeros(len(denominator)), where=denominator > 0)
    return found
