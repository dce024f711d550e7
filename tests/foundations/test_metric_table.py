"""The table of metrics: one row says all that is known of a metric, and everything else reads it."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.config import load_config
from tasks.errors import UsageError
from tasks.problems.metric import Metric
from tasks.problems.registry import PROBLEMS, all_metric_names, figure_text, get_metric, metric_names, problem_with

ROWS = [(problem.name, metric) for problem in PROBLEMS.values() for metric in problem.metrics]


def test_names_are_unique_in_a_problem_and_problems_that_share_one_agree() -> None:
    """So a name is enough to word a figure, whatever problem it is of."""
    for name, one in PROBLEMS.items():
        assert len(set(metric_names(name))) == len(one.metrics), name
    for problem, metric in ROWS:
        shared = get_metric(metric.name)
        worded = (metric.title, metric.unit, metric.lower_is_better, metric.low, metric.high)
        assert worded == (shared.title, shared.unit, shared.lower_is_better, shared.low, shared.high), problem


@pytest.mark.parametrize(("problem", "metric"), ROWS, ids=[f"{problem} {metric.name}" for problem, metric in ROWS])
def test_a_row_tells_how_it_is_computed_and_where_it_can_lie(problem: str, metric: Metric[Any, Any]) -> None:
    assert (metric.estimate is None) == (metric.interval in ("bootstrap", "wilson"))
    assert metric.compute is not None or metric.estimate is not None
    assert metric.low < metric.high
    if metric.unit == "share":
        assert (metric.low, metric.high) == (0.0, 1.0)
        assert metric.clip((-0.5, 1.5)) == (0.0, 1.0)


@pytest.mark.parametrize("name", all_metric_names())
def test_the_config_takes_every_metric(name: str) -> None:
    config = load_config({}, [f"gate.metric={name}", f'gate.rules=[{{"metric":"{name}","min":0}}]'])
    assert (config.gate.metric, config.gate.rules[0].metric) == (name, name)


def test_a_misspelt_metric_is_told_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"'gate.metric' = 'acuracy' .*: 'acuracy' is no metric; did you mean 'accuracy'\?"
    ):
        load_config({}, ["gate.metric=acuracy"])


def test_figures_name_their_problem() -> None:
    for name in PROBLEMS:
        assert problem_with(metric_names(name)).name == name
    assert problem_with(["accuracy"]).name == "multiclass"
    assert problem_with(["macro_f1", "mean_ap"]).name == "multilabel"


def test_a_figure_that_only_another_version_knows_is_still_shown() -> None:
    assert figure_text(0.5, "g_mean") == "0.500"
