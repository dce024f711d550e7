"""Two evaluations of before, row by row: the common rows in whatever order, or a reason why they cannot be paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.refs import CheckpointRef, EvalReport
from data_contracts.tables import predictions_schema
from tasks.evaluate.paired import Evaluated, compare_evaluations
from tasks.evaluate.scorers import make_scorer
from tasks.modeling.card import ModelCard
from tasks.store import Store, digest_json
from tests.support.cards import card_of, write_card

ROWS = 24
CELLS = ["a", "b", "c"] * 8
NUMBERS: dict[str, Any] = {"targets": [{"name": "label", "problem": "regression", "labels": []}]}


def outputs_of(labels: Sequence[str], cells: Sequence[str], right: Sequence[bool]) -> np.ndarray:
    """(N, labels) probabilities: 0.8 for the true label where the answer is right, else for the one after it."""
    found = np.full((len(cells), len(labels)), 0.2 / (len(labels) - 1), np.float32)
    for row, (cell, hit) in enumerate(zip(cells, right, strict=True)):
        place = labels.index(cell) if cell in labels else 0
        found[row, place if hit else (place + 1) % len(labels)] = 0.8
    return found


def put(
    store: Store,
    name: str,
    outputs: np.ndarray,
    labels: Sequence[str],
    cells: Sequence[str] = CELLS,
    ids: Sequence[str] | None = None,
    order: Sequence[int] | None = None,
    **card: Any,
) -> Evaluated:
    """An evaluation whose predictions lie in the store in this order."""
    store.path(f"checkpoints/{name}").mkdir(parents=True)
    write_card(store.path(f"checkpoints/{name}"), labels, **card)
    rows = len(cells)
    columns = {
        "id": list(ids) if ids else [f"s{row:02d}" for row in range(rows)],
        "label": list(cells),
        "predicted": [""] * rows,
        "targets": [None] * rows,
        "probability": [0.8] * rows,
        "probabilities": outputs.tolist(),
        "modalities": ["image"] * rows,
    }
    table = pa.table(columns, schema=predictions_schema()).take(pa.array(order if order else range(rows)))
    store.path(f"evaluations/{name}").mkdir(parents=True)
    pq.write_table(table, store.path(f"evaluations/{name}") / "predictions.parquet")
    sha256 = digest_json(name)
    checkpoint = CheckpointRef(
        uri=f"checkpoints/{name}", sha256=sha256, rows=1, model_sha256=sha256, train_key=sha256,
        modalities=("image", "audio"), labels=tuple(labels), best_epoch=1, epochs=1,
    )  # fmt: skip
    report = EvalReport(
        uri=f"evaluations/{name}", sha256=sha256, rows=rows, model_sha256=sha256, metrics={"test": {}}, intervals={},
        by_modalities={}, majority_share=0.5,
    )  # fmt: skip
    return report, checkpoint


FIRST, SECOND = np.arange(ROWS) < 20, np.arange(ROWS) % 2 == 0


def test_rows_are_paired_by_id_and_labels_by_name(store: Store) -> None:
    ours = put(store, "ours", outputs_of("abc", CELLS, FIRST), "abc")
    theirs = put(store, "theirs", outputs_of("cab", CELLS, SECOND), "cab", order=range(ROWS)[::-1])
    found = compare_evaluations(ours, theirs, store)
    assert not isinstance(found, str)
    assert (found.rows, found.clusters, found.other_rows) == (24, None, 0)
    differences = found.differences
    value, low, high = differences["accuracy"]
    assert value == pytest.approx(20 / 24 - 12 / 24)
    assert 0 < low < value < high
    cards = [ModelCard.model_validate(card_of(labels)) for labels in ("abc", "cab")]
    scored = [
        make_scorer(card, 0, outputs_of(card.labels, CELLS, right), CELLS, ("a", "b", "c"))[0]
        for card, right in zip(cards, (FIRST, SECOND), strict=True)
    ]
    expected = scored[0].differences(scored[1], 0, 0.95)
    assert differences.keys() == expected.keys()
    for name, triple in expected.items():
        assert differences[name] == pytest.approx(triple, abs=1e-6), name
    back = compare_evaluations(theirs, ours, store)
    assert not isinstance(back, str)
    assert back.differences["accuracy"] == pytest.approx((-value, -high, -low))


def test_labels_that_one_or_both_do_not_know_are_mistakes(store: Store) -> None:
    """Of a, b, c and d the first knows a and b, the second b and c, neither d."""
    cells = ["a", "b", "c", "d"] * 6
    ours = put(store, "ours", outputs_of("ab", cells, [True] * 24), "ab", cells)
    theirs = put(store, "theirs", outputs_of("bc", cells, [True] * 12 + [False] * 12), "bc", cells)
    found = compare_evaluations(ours, theirs, store)
    assert not isinstance(found, str)
    assert found.differences["accuracy"][0] == pytest.approx(12 / 24 - 6 / 24)


def test_numbers_are_paired(store: Store) -> None:
    cells, truth = [str(n) for n in range(ROWS)], np.arange(ROWS, dtype=np.float32)[:, None]
    ours = put(store, "ours", truth + 1, (), cells, **NUMBERS)
    theirs = put(store, "theirs", truth - 3, (), cells, **NUMBERS)
    found = compare_evaluations(ours, theirs, store)
    assert not isinstance(found, str)
    assert found.differences["mae"][0] == pytest.approx(-2.0)


def test_only_common_rows_under_the_same_label_are_paired(store: Store) -> None:
    ours = put(store, "ours", outputs_of("abc", CELLS, FIRST), "abc")
    ids = [f"s{row:02d}" for row in range(4, 28)]
    relabelled = [*CELLS[4:], *CELLS[:4]]
    relabelled[0] = "a" if relabelled[0] != "a" else "b"
    theirs = put(store, "theirs", outputs_of("abc", relabelled, [True] * 24), "abc", relabelled, ids)
    found = compare_evaluations(ours, theirs, store)
    assert not isinstance(found, str)
    assert (found.rows, found.other_rows) == (19, 2 * 5)
    assert found.differences["accuracy"][0] == pytest.approx(15 / 19 - 1)


def test_rows_that_come_in_clusters_widen_the_interval(store: Store) -> None:
    ours = put(store, "ours", outputs_of("abc", CELLS, FIRST), "abc")
    theirs = put(store, "theirs", outputs_of("abc", CELLS, SECOND), "abc")
    by_row = compare_evaluations(ours, theirs, store)
    alike = {f"s{row:02d}": row // 2 * 2 if row < 12 else row for row in range(ROWS)}
    by_cluster = compare_evaluations(ours, theirs, store, alike)
    assert not isinstance(by_row, str)
    assert not isinstance(by_cluster, str)
    assert by_cluster.clusters == 18
    assert by_cluster.differences["accuracy"] != by_row.differences["accuracy"]
    assert by_cluster.differences["accuracy"][0] == pytest.approx(by_row.differences["accuracy"][0])


def test_why_two_cannot_be_paired(store: Store) -> None:
    ours = put(store, "ours", outputs_of("abc", CELLS, FIRST), "abc")
    ids = [f"t{row:02d}" for row in range(ROWS)]
    others = put(store, "others", outputs_of("abc", CELLS, FIRST), "abc", ids=ids)
    assert compare_evaluations(ours, others, store) == "of 24 and 24 test rows none is in both under the same label"
    numbers = put(store, "numbers", np.zeros((ROWS, 1), np.float32), (), **NUMBERS)
    assert compare_evaluations(ours, numbers, store) == "one answers multiclass, the other regression"
