"""What a label cell means under each problem, as text in a table and as numbers. Imports no torch.

A multiclass label is itself. A set of labels is their sorted names joined by `|`, or `[]` where it is known to be empty.
A number is its shortest text. The first label column's cell stands in `label`, those of the others in `targets`, a JSON
object; a column that a row's object does not name is unknown for that row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Problem, Target
from tasks.config import DataConfig, RunConfig
from tasks.errors import UsageError

SEPARATOR = "|"
NO_LABELS = "[]"
METRICS: dict[Problem, tuple[str, ...]] = {
    "multiclass": ("accuracy", "macro_f1", "macro_recall", "macro_precision", "ece", "auroc"),
    "multilabel": ("exact_match", "micro_f1", "macro_f1", "macro_recall", "macro_precision", "mean_ap"),
    "regression": ("mae", "rmse", "r2"),
}
LOWER_IS_BETTER = frozenset({"ece", "mae", "rmse"})
GATE_METRIC: dict[Problem, str] = {"multiclass": "macro_f1", "multilabel": "macro_f1", "regression": "mae"}
"""The metric on which candidate and champion are compared, unless the config names one."""
BASELINE_METRIC: dict[Problem, str] = {"multiclass": "accuracy", "multilabel": "mean_ap", "regression": "mae"}
"""The metric on which one and the same answer to every row is beaten, unless the config names one."""
PROBLEMS: tuple[Problem, ...] = ("multiclass", "multilabel", "regression")


@dataclass(frozen=True)
class LabelColumn:
    """A label column as the config asks for it."""

    name: str | None
    """None: found by name."""
    problem: Problem


def label_columns(config: DataConfig) -> tuple[LabelColumn, ...]:
    """The label columns, the first one first: of data.columns.labels, each `COLUMN` or `COLUMN:problem`, else the one.

    UsageError where two entries name one column, or one after the first is called `test`: that is the first one's place
    among the figures.
    """
    usual: Problem = "multiclass" if config.problem == "auto" else config.problem
    if not config.columns.labels:
        return (LabelColumn(config.columns.label, usual),)
    found = []
    for entry in config.columns.labels:
        name, colon, problem = entry.rpartition(":")
        known = next((one for one in PROBLEMS if one == problem), None) if colon and name else None
        found.append(LabelColumn(name if known else entry, known or usual))
    names = [column.name for column in found]
    if "test" in names[1:]:
        raise UsageError("data.columns.labels: a further column cannot be called 'test'; put it first, or rename it")
    if len(set(names)) < len(names):
        raise UsageError(
            f"data.columns.labels {', '.join(map(repr, config.columns.labels))}: a column is named twice; "
            "a column is of one problem"
        )
    return tuple(found)


def join_labels(labels: Iterable[str]) -> str:
    """The text of a set of labels."""
    return SEPARATOR.join(sorted(set(labels))) or NO_LABELS


def split_labels(text: str) -> tuple[str, ...]:
    """The set of labels in a text."""
    return () if text == NO_LABELS else tuple(text.split(SEPARATOR))


def number_text(value: float) -> str:
    """The shortest text that reads as the same number; 7.0 is `7`."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def describe_targets(
    columns: Sequence[tuple[str, Problem]], cells: Sequence[Sequence[str | None]]
) -> tuple[Target, ...]:
    """The label columns with the labels that occur in each, sorted; none for numbers."""
    found = []
    for (name, problem), column in zip(columns, cells, strict=True):
        texts = {cell for cell in column if cell is not None}
        if problem == "multilabel":
            texts = {label for text in texts for label in split_labels(text)}
        found.append(Target(name=name, problem=problem, labels=() if problem == "regression" else tuple(sorted(texts))))
    return tuple(found)


def to_indices(cells: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.int64]:
    """(N,) positions in the labels, -1 where the cell is unknown, or names a label that is none of them."""
    positions = {label: index for index, label in enumerate(labels)}
    return np.array([-1 if cell is None else positions.get(cell, -1) for cell in cells], np.int64)


def to_members(cells: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.float32]:
    """(N, L) 1 where a row has the label, NaN in every place of a row whose cell is unknown; other labels are left out."""
    positions = {label: index for index, label in enumerate(labels)}
    found = np.zeros((len(cells), len(labels)), np.float32)
    for row, cell in enumerate(cells):
        if cell is None:
            found[row] = np.nan
            continue
        for label in split_labels(cell):
            if label in positions:
                found[row, positions[label]] = 1.0
    return found


def to_numbers(cells: Sequence[str | None]) -> NDArray[np.float64]:
    """(N,) NaN where the cell is unknown."""
    return np.array([np.nan if cell is None else float(cell) for cell in cells], np.float64)


def problem_of(figures: Iterable[str]) -> Problem:
    """The problem that has all of these metrics."""
    return next(problem for problem, metrics in METRICS.items() if set(figures) <= set(metrics))


def metric_of(metric: str, problem: Problem, usual: Mapping[Problem, str]) -> str:
    """The metric that `auto` stands for."""
    return usual[problem] if metric == "auto" else metric


def require_fitting(config: RunConfig, targets: Sequence[Target]) -> None:
    """Returns where the settings make sense for these label columns; UsageError names the first that does not."""
    first, known = targets[0], {target.name: target for target in targets}
    if "test" in known and known["test"] is not first:
        raise UsageError("data.columns.labels: a label column beside the first may not be called 'test'; rename it")
    if all(target.problem == "regression" for target in targets):
        asked = {
            "train.class_balance": config.train.class_balance != "none",
            "train.loss": config.train.loss == "focal",
            "split.min_test_per_class": config.split.min_test_per_class > 0,
        }
        for key in (key for key, wanted in asked.items() if wanted):
            raise UsageError(f"{key}: there are no classes under data.problem=regression; leave it at its default")
    if config.train.tune_thresholds and first.problem == "regression":
        raise UsageError(
            "train.tune_thresholds: the first label column holds numbers, which need none; set it to false"
        )
    _require_metric("gate.metric", config.gate.metric, first)
    for rule in config.gate.rules:
        if rule.column and rule.column not in known:
            raise UsageError(f"gate.rules: no label column {rule.column!r}; there are {', '.join(known)}")
        _require_metric("gate.rules", rule.metric, known.get(rule.column, first))


def _require_metric(key: str, metric: str, target: Target) -> None:
    if metric != "auto" and metric not in METRICS[target.problem]:
        raise UsageError(
            f"{key}: {metric} is no figure of a {target.problem} column ({target.name!r}); "
            f"use one of {', '.join(METRICS[target.problem])}"
        )
