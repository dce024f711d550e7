"""Every problem and, through it, every metric. Whoever needs one asks here by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from data_contracts.refs import ProblemName, Target
from tasks.errors import DataError
from tasks.problems.metric import Metric
from tasks.problems.multiclass import Multiclass
from tasks.problems.multilabel import Multilabel
from tasks.problems.problem import Problem
from tasks.problems.regression import Regression

_REGISTERED: dict[ProblemName, Problem] = {
    problem.name: problem for problem in (Multiclass(), Multilabel(), Regression())
}
"""Another problem is another module like tasks/problems/regression.py, and its object here."""
PROBLEMS: Mapping[ProblemName, Problem] = MappingProxyType(_REGISTERED)
DEFAULT: ProblemName = Multiclass.name
"""What data.problem = auto stands for, and a column of which nothing is said."""


def get_problem(name: ProblemName) -> Problem:
    """The problem of this name. DataError for one that this version does not have, as from an artifact of another."""
    if name not in PROBLEMS:
        raise DataError(f"problem {name!r}: unknown; this version has {', '.join(PROBLEMS)}")
    return PROBLEMS[name]


def problem_of(target: Target) -> Problem:
    """The problem of a label column."""
    return get_problem(target.problem)


def is_plain(targets: Sequence[Target]) -> bool:
    """Whether this is one column of the default problem, of which its labels say all."""
    return len(targets) == 1 and targets[0].problem == DEFAULT


def width(targets: Iterable[Target]) -> int:
    """Outputs of a network for these label columns together."""
    return sum(problem_of(target).width(target) for target in targets)


# -- metrics ---


def metric_names(problem: ProblemName) -> tuple[str, ...]:
    """The metrics of a problem, in the order in which they are shown."""
    return tuple(metric.name for metric in get_problem(problem).metrics)


def all_metric_names() -> tuple[str, ...]:
    """Every metric's name, once."""
    return tuple(dict.fromkeys(name for problem in PROBLEMS for name in metric_names(problem)))


def find_metric(name: str) -> Metric[Any, Any] | None:
    """The row of a metric, of `column.metric` that of the metric; problems that share a name agree on what is shown of it."""
    plain = name.rpartition(".")[2]
    return next((row for problem in PROBLEMS.values() for row in problem.metrics if row.name == plain), None)


def get_metric(name: str) -> Metric[Any, Any]:
    """The row of a metric. ValueError, with the nearest name, where there is none."""
    found = find_metric(name)
    if found is None:
        raise ValueError(unknown_name(name, "metric", all_metric_names()))
    return found


def problem_with(metrics: Iterable[str]) -> Problem:
    """The problem that has most of these metrics, the first of equals."""
    named = set(metrics)
    return max(PROBLEMS.values(), key=lambda problem: len(named & set(metric_names(problem.name))))


def validation_keys() -> tuple[str, ...]:
    """The keys under which history.json may have the validation metric of an epoch: `val_accuracy`."""
    return tuple(dict.fromkeys(f"val_{problem.validation_metric}" for problem in PROBLEMS.values()))


def figure_text(value: float, metric: str, sign: bool = False, beside: float | None = None, decimals: int = 3) -> str:
    """A figure as the unit of its metric is read, see `Metric.text`; one that only another version knows, as a share."""
    return (find_metric(metric) or PROBLEMS[DEFAULT].metrics[0]).text(value, sign, beside, decimals)


def unknown_name(name: str, what: str, known: Iterable[str]) -> str:
    """`'acuracy' is no metric; did you mean 'accuracy'? accepted: ...`"""
    names = tuple(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{name!r} is no {what}; {hint}accepted: {', '.join(map(repr, names))}"
