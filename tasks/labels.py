"""The label columns of a run, and their cells. Imports no torch.

What a cell means is its problem's to say (tasks.problems). The first label column's cell stands in `label`, those of the others
in `targets`, a JSON object; a column that a row's object does not name is unknown for that row.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from data_contracts.refs import ProblemName, Target
from tasks.config import DataConfig, RunConfig, TrainConfig
from tasks.errors import UsageError
from tasks.problems.registry import DEFAULT, PROBLEMS, get_problem, metric_names, problem_of, unknown_name


@dataclass(frozen=True)
class LabelColumn:
    """A label column as the config asks for it."""

    name: str | None
    """None: found by name."""
    problem: ProblemName


def label_columns(config: DataConfig) -> tuple[LabelColumn, ...]:
    """The label columns, the first one first: of data.columns.labels, each `COLUMN` or `COLUMN:problem`, else the one.

    UsageError where two entries name one column, or one after the first is called `test`: that is the first one's place
    among the figures.
    """
    usual = DEFAULT if config.problem == "auto" else config.problem
    if not config.columns.labels:
        return (LabelColumn(config.columns.label, usual),)
    found = []
    for entry in config.columns.labels:
        name, colon, problem = entry.rpartition(":")
        known = bool(colon and name) and problem in PROBLEMS
        if colon and name and not known and difflib.get_close_matches(problem, PROBLEMS, cutoff=0.8):
            raise UsageError(f"data.columns.labels {entry!r}: {unknown_name(problem, 'problem', PROBLEMS)}")
        found.append(LabelColumn(name if known else entry, problem if known else usual))
    names = [column.name for column in found]
    if "test" in names[1:]:
        raise UsageError("data.columns.labels: a further column cannot be called 'test'; put it first, or rename it")
    if len(set(names)) < len(names):
        raise UsageError(
            f"data.columns.labels {', '.join(map(repr, config.columns.labels))}: a column is named twice; "
            "a column is of one problem"
        )
    return tuple(found)


def describe_targets(
    columns: Sequence[tuple[str, ProblemName]], cells: Sequence[Sequence[str | None]]
) -> tuple[Target, ...]:
    """The label columns with the labels that occur in each, sorted; none for numbers."""
    found = []
    for (name, problem), column in zip(columns, cells, strict=True):
        labels_of = get_problem(problem).labels_of
        labels = {label for text in column if text is not None for label in labels_of(text)}
        found.append(Target(name=name, problem=problem, labels=tuple(sorted(labels))))
    return tuple(found)


def require_fitting(config: RunConfig, targets: Sequence[Target]) -> None:
    """Returns where the settings make sense for these label columns; UsageError names the first that does not."""
    first, known = targets[0], {target.name: target for target in targets}
    if "test" in known and known["test"] is not first:
        raise UsageError("data.columns.labels: a label column beside the first may not be called 'test'; rename it")
    if all(problem_of(target).is_numeric for target in targets):
        asked = {
            "train.class_balance": config.train.class_balance != "none",
            "train.loss": config.train.loss == "focal",
            "split.min_test_per_class": config.split.min_test_per_class > 0,
        }
        for key in (key for key, is_set in asked.items() if is_set):
            raise UsageError(f"{key}: there are no classes under data.problem={first.problem}; leave it at its default")
    if config.train.tune_thresholds and problem_of(first).decision is None:
        raise UsageError(
            "train.tune_thresholds: the first label column holds numbers, which need none; set it to false"
        )
    if config.train.max_risk and not problem_of(first).has_classes:
        raise UsageError(
            f"train.max_risk: the first label column is {first.problem}, an answer of which is not of one class; set it to 0"
        )
    _require_effect(config.train, targets)
    _require_metric("gate.metric", config.gate.metric, first)
    for rule in config.gate.rules:
        if rule.column and rule.column not in known:
            raise UsageError(f"gate.rules: no label column {rule.column!r}; there are {', '.join(known)}")
        _require_metric("gate.rules", rule.metric, known.get(rule.column, first))


def _require_effect(train: TrainConfig, targets: Sequence[Target]) -> None:
    """UsageError for a setting that is not at its default, and of no effect on these label columns."""
    first, usual = problem_of(targets[0]), TrainConfig()
    numeric = [problem_of(target).is_numeric for target in targets]
    without = {
        "conformal_alpha": not (first.has_classes or first.is_numeric) and "prediction sets are of one class a row",
        "ood_false_positive_rate": first.is_numeric and "rows are flagged by the energy of class scores",
        "label_smoothing": all(numeric) and "there are no classes",
        "focal_gamma": all(numeric) and "there are no classes",
        "regression_loss": not any(numeric) and "no label column holds numbers",
    }
    for key, why in without.items():
        if why and getattr(train, key) and getattr(train, key) != getattr(usual, key):
            raise UsageError(f"train.{key}: of no effect under data.problem={first.name}, as {why}; leave it out")


def _require_metric(key: str, metric: str, target: Target) -> None:
    known = metric_names(target.problem)
    if metric != "auto" and metric not in known:
        raise UsageError(
            f"{key}: {metric} is no figure of a {target.problem} column ({target.name!r}); "
            f"use one of {', '.join(known)}"
        )
