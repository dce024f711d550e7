"""Two evaluations of before, paired row by row where they scored the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data_contracts.refs import CheckpointRef, EvalReport
from data_contracts.tables import PREDICTIONS
from tasks.contract import read_table
from tasks.evaluate.scorers import make_scorer
from tasks.modeling.card import read_card
from tasks.modeling.row_clusters import clusters_of
from tasks.problems.registry import problem_of
from tasks.problems.scoring import Difference
from tasks.store import Store

CONFIDENCE = 0.95
SEED = 0
Evaluated = tuple[EvalReport, CheckpointRef]


class Paired(NamedTuple):
    """What two evaluations say of the rows that both scored under the same label."""

    rows: int
    clusters: int | None
    """None: each row is one of its own."""
    other_rows: int
    """Test rows that take no part: the other has not got them, or has them under another label, or they have none."""
    differences: dict[str, Difference]
    """Metric to ours minus theirs with its interval, of the first label column."""


def compare_evaluations(
    ours: Evaluated, theirs: Evaluated, store: Store, clusters: Mapping[str, int] | None = None
) -> Paired | str:
    """Two evaluations, paired on their common rows; or why they cannot be paired.

    `clusters`: id to the number of its cluster, where rows come in clusters.
    """
    tables = [read_table(store.path(report.uri) / PREDICTIONS) for report, _ in (ours, theirs)]
    rows = [{name: (place, label) for place, (name, label) in enumerate(_ids_and_labels(table))} for table in tables]
    shared = sorted(
        name
        for name, (_, label) in rows[0].items()
        if label is not None and name in rows[1] and rows[1][name][1] == label
    )
    sizes = [len(found) for found in rows]
    if not shared:
        return f"of {sizes[0]:,} and {sizes[1]:,} test rows none is in both under the same label"
    cards = [read_card(store.path(checkpoint.uri)) for _, checkpoint in (ours, theirs)]
    targets = [card.label_targets[0] for card in cards]
    if targets[0].problem != targets[1].problem:
        return f"one answers {targets[0].problem}, the other {targets[1].problem}"
    tables = [table.take([found[name][0] for name in shared]) for table, found in zip(tables, rows, strict=True)]
    cells = tables[0]["label"].to_pylist()
    labels = tuple(dict.fromkeys([label for target in targets for label in target.labels]))
    named = {label for cell in cells for label in problem_of(targets[0]).labels_of(cell)}
    labels = (*labels, *sorted(named - {*labels}))
    outputs = [np.array(table["probabilities"].to_pylist(), dtype=np.float64) for table in tables]
    scored = [make_scorer(card, 0, given, cells, labels)[0] for card, given in zip(cards, outputs, strict=True)]
    every = None if clusters is None else np.array([clusters[name] for name in shared])
    numbers = None if every is None else clusters_of(np.arange(len(every)), every)
    differences = scored[0].differences(scored[1], SEED, CONFIDENCE, numbers)
    return Paired(
        len(shared), None if numbers is None else int(numbers.max()) + 1, sum(sizes) - 2 * len(shared), differences
    )


def _ids_and_labels(table: pa.Table) -> Iterator[tuple[str, object]]:
    return zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True)
