"""What the gate's table says to people who know no statistics, and of the rows behind its figures."""

from __future__ import annotations

from typing import Literal

from data_contracts.refs import Pairing
from data_contracts.slices import SliceRegressions
from tasks.gate_rules import Outcome
from tasks.number_format import short_number
from tasks.problems.registry import get_metric

FEW_CLUSTERS = 20
"""Below it an interval over clusters is rough (Cameron, Gelbach & Miller 2008), and the gate's table says so."""
FIRST = "This is the first model: there is none in production to compare it with."
Mode = Literal["better", "not-worse"]


def doubt_clusters(clusters: int | None) -> str:
    """`; few clusters (12): the interval is rough`, nothing where there are enough, or each row stands for itself."""
    if clusters is None or clusters >= FEW_CLUSTERS:
        return ""
    return f"; few clusters ({clusters}): the interval is rough"


def describe_rows(other: Pairing, who: str) -> str:
    """What is to be known about the rows of a comparison, to be put behind its figures."""
    left_out = ""
    if other.seen:
        rows = "1 row was" if other.seen == 1 else f"{other.seen:,} rows were"
        left_out = f"; {rows} left out, which {who} was trained on"
    return left_out + doubt_clusters(other.clusters)


def say_undefined(metric: str) -> str:
    """Of a figure that does not exist on these rows."""
    return f"{get_metric(metric).title} cannot be computed on these test rows."


def say_comparison(mode: Mode, outcome: Outcome, other: Pairing, strict: bool, metric: str, margin: float) -> str:
    """The outcome of a comparison with another model; `strict`: with the best champion so far."""
    who = "the best model so far" if strict else "the model in production"
    rows = "1 test row" if other.rows == 1 else f"{other.rows:,} test rows"
    if other.clusters is not None and other.clusters < FEW_CLUSTERS:
        rows += f" in {other.clusters} {'cluster' if other.clusters == 1 else 'clusters'}"
    lost = f"{100 * margin:.3g} points" if get_metric(metric).unit == "share" else short_number(margin)
    if outcome == "inconclusive":
        claim = "better than" if mode == "better" else "as good as"
        return f"{rows} are too few to tell whether the new model is {claim} {who}."
    if outcome == "fail":
        more = "" if mode == "better" else f", by more than the {lost} that may be lost"
        return f"The new model is worse than {who}{more}."
    if mode == "better":
        return f"The new model is better than {who}, by more than chance explains on {rows}."
    return f"The new model is as good as {who}, or less than {lost} worse."


def say_regressions(losses: SliceRegressions, worse: list[str]) -> str:
    """`worse`: the parts that got worse, as text."""
    if worse:
        return f"The new model has become worse on {', '.join(worse[:3])}{' and others' if len(worse) > 3 else ''}."
    if not losses.tested:
        return "No class has enough test rows to tell whether the new model has become worse on it."
    return "On no class, and on no kind of row, has the new model clearly become worse."
