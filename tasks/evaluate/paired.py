"""Two evaluations of before, paired row by row where they scored the same rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from data_contracts.refs import CheckpointRef, EvalReport
from data_contracts.tables import PREDICTIONS
from tasks.contract import read_table
from tasks.evaluate.scorers import judge_column
from tasks.modeling.card import read_card
from tasks.problems.registry import problem_of
from tasks.problems.scoring import Difference
from tasks.store import Store

CONFIDENCE = 0.95
SEED = 0
Evaluated = tuple[EvalReport, CheckpointRef]


def compare_evaluations(
    ours: Evaluated, theirs: Evaluated, store: Store, clusters: Mapping[str, int] | None = None
) -> dict[str, Difference] | str:
    """Metric to ours minus theirs with its interval, of the first label column; or why they cannot be paired.

    `clusters`: id to the number of its cluster, where rows come in clusters.
    """
    tables = [_sorted(report, store) for report, _ in (ours, theirs)]
    if tables[0]["id"].to_pylist() != tables[1]["id"].to_pylist():
        shared = len(set(tables[0]["id"].to_pylist()) & set(tables[1]["id"].to_pylist()))
        return f"the test rows are not the same ({shared} of {tables[0].num_rows} and {tables[1].num_rows} in common)"
    cells = tables[0]["label"].to_pylist()
    if cells != tables[1]["label"].to_pylist():
        return "the test rows are the same, their labels are not"
    cards = [read_card(store.path(checkpoint.uri)) for _, checkpoint in (ours, theirs)]
    targets = [card.label_targets[0] for card in cards]
    if targets[0].problem != targets[1].problem:
        return f"one answers {targets[0].problem}, the other {targets[1].problem}"
    labels = tuple(dict.fromkeys([label for target in targets for label in target.labels]))
    named = {label for cell in cells for label in problem_of(targets[0]).labels_of(cell)}
    labels = (*labels, *sorted(named - {*labels}))
    outputs = [np.array(table["probabilities"].to_pylist(), dtype=np.float64) for table in tables]
    scored = [judge_column(card, 0, given, cells, labels)[0] for card, given in zip(cards, outputs, strict=True)]
    numbers = None if clusters is None else np.array([clusters[name] for name in tables[0]["id"].to_pylist()])
    return scored[0].differences(scored[1], SEED, CONFIDENCE, numbers)


def _sorted(report: EvalReport, store: Store) -> pa.Table:
    return read_table(store.path(report.uri) / PREDICTIONS).sort_by("id")
