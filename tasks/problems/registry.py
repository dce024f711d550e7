"""Every metric of every problem: what the config accepts, evaluation computes, the gate compares and reports show."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from data_contracts.refs import Problem
from tasks.problems import multiclass_metrics, multilabel_metrics, regression
from tasks.problems.metric import Metric

METRICS: Mapping[Problem, tuple[Metric[Any, Any], ...]] = MappingProxyType(
    {
        "multiclass": multiclass_metrics.METRICS,
        "multilabel": multilabel_metrics.METRICS,
        "regression": regression.METRICS,
    }
)
"""In the order in which they are shown."""


def metric_names(problem: Problem) -> tuple[str, ...]:
    """The metrics of a problem, in the order in which they are shown."""
    return tuple(metric.name for metric in METRICS[problem])


def all_metric_names() -> tuple[str, ...]:
    """Every metric's name, once."""
    return tuple(dict.fromkeys(metric.name for metrics in METRICS.values() for metric in metrics))


def find_metric(name: str) -> Metric[Any, Any] | None:
    """The row of a metric, of `column.metric` that of the metric; problems that share a name agree on what is shown of it."""
    plain = name.rpartition(".")[2]
    return next((metric for metrics in METRICS.values() for metric in metrics if metric.name == plain), None)


def get_metric(name: str) -> Metric[Any, Any]:
    """The row of a metric that is known to be there. ValueError names the nearest one otherwise."""
    found = find_metric(name)
    if found is None:
        known = all_metric_names()
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{name!r} is no metric; {hint}accepted: {', '.join(map(repr, known))}")
    return found


def figure_text(value: float, metric: str, sign: bool = False, beside: float | None = None, decimals: int = 3) -> str:
    """A figure as the unit of its metric is read, see `Metric.text`; one that only another version knows, as a share."""
    return (find_metric(metric) or METRICS["multiclass"][0]).text(value, sign, beside, decimals)


def problem_of(figures: Iterable[str]) -> Problem:
    """The problem that has most of these metrics, the first of equals."""
    named = set(figures)
    return max(METRICS, key=lambda problem: len(named & set(metric_names(problem))))
