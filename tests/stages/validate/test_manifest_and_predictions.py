"""The manifest as read and the predictions as stored: good ones pass, each corruption breaks its expectation."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.expectations.manifest import manifest_expectations
from data_contracts.expectations.predictions import predictions_expectations
from data_contracts.refs import CheckpointRef, EvalReport, RawRef, Target
from data_contracts.tables import predictions_schema, raw_schema
from tasks.config import load_config
from tasks.errors import DataError
from tasks.ingest.manifest.scan import scan
from tasks.problems.registry import problem_of
from tasks.store import Store
from tasks.validate.manifest_and_predictions import validate_manifest, validate_predictions
from tests.support.cards import write_card
from tests.support.spoiled_samples import digest

LABELS = ("cat", "dog", "owl")
ANIMAL = Target(name="animal", problem="multiclass", labels=LABELS)
Rows = list[dict[str, Any]]
Spoil = Callable[[Rows], Any]
MakeData = Callable[..., Path]


def put(store: Store, kind: str, name: str, rows: Rows, schema: pa.Schema) -> str:
    """Stores rows whose cells may be null against their schema, as of a corrupted file, and returns the folder's uri."""
    key = digest(repr(rows))
    store.path(f"{kind}/{key}").mkdir(parents=True)
    loose = pa.schema([field.with_nullable(True) for field in schema if field.name in rows[0]], schema.metadata)
    pq.write_table(pa.Table.from_pylist(rows, schema=loose), store.path(f"{kind}/{key}/{name}"))
    return f"{kind}/{key}"


# -- manifest ---


def raw_rows() -> Rows:
    """30 rows with a picture and a text each; the first two were refused before decoding."""
    empty: dict[str, Any] = dict.fromkeys(raw_schema().names)
    rows = [
        empty
        | {"row": n + 2, "id": f"s{n:02d}", "label": "ab"[n % 2], "image": f"/d/{n}.png", "text": "", "weight": 1.0}
        | {"image_sha256": digest(f"i{n}"), "text_sha256": digest(f"t{n}"), "split": "train"}
        for n in range(30)
    ]
    for row in rows[:2]:
        row.update(reason="missing-file", detail="no such file", image_sha256=None)
    return rows


def check_manifest(store: Store, rows: Rows) -> list[str]:
    uri = put(store, "raw", "rows.parquet", rows, raw_schema())
    raw = RawRef(uri=uri, sha256=digest(repr(rows)), rows=len(rows), source="m.csv", modalities=("image", "text"))
    return validate_manifest(raw, store)["warnings"]


def each(**cells: Any) -> Spoil:
    """Rows 5 to 7 get these cells."""
    return lambda rows: [row.update(cells) for row in rows[5:8]]


def without(name: str) -> Spoil:
    return lambda rows: [row.pop(name) for row in rows]


BROKEN_MANIFEST: dict[str, Spoil] = {
    "raw_columns": without("group"),
    "raw_rows": lambda rows: None,  # a table without rows cannot be put; see below
    "row_given": each(row=None),
    "row_positive": each(row=0),
    "raw_id_given": each(id=None),
    "reason_explained": each(reason="bad-label"),
    "medium_named": each(image_sha256=None, text_sha256=None),
    "raw_label_given": each(label=None),
    "raw_split_known": each(split="dev"),
    "raw_weight_positive": each(weight=-1.0),
    "image_digested": each(image_sha256="none"),
    "text_digested": each(text_sha256="f" * 63),
}
WARNED_MANIFEST: dict[str, Spoil] = {
    "rows_readable": each(reason="bad-path", detail="a NUL"),
    "raw_id_unique": each(id="same"),
}


def test_every_expectation_on_manifests_has_a_corruption() -> None:
    severities = {e.meta["name"]: e.severity for e in manifest_expectations(("image", "text"))}
    assert severities == dict.fromkeys(BROKEN_MANIFEST, "critical") | dict.fromkeys(WARNED_MANIFEST, "warning")


def test_a_good_manifest_passes(store: Store) -> None:
    assert check_manifest(store, raw_rows()) == []


def test_manifests_as_scan_stores_them_pass(make_data: MakeData, store: Store) -> None:
    def spoil(row: dict[str, Any], number: int) -> dict[str, Any]:
        cells = {0: {"image": "../x.png"}, 1: {"label": ""}, 2: {"image": "", "text": "", "audio_path": ""}}
        return row | {"weight": "2", "split": "train"} | cells.get(number, {})

    config = load_config({}, ["runtime.workers=1"])
    raw = scan(config, store, make_data(40, change=spoil))
    check = validate_manifest(raw, store)
    assert check["warnings"] == []
    assert (store.path(check["docs"]) / "manifest.html").is_file()


@pytest.mark.parametrize("name", [name for name in BROKEN_MANIFEST if name != "raw_rows"])
def test_a_manifest_that_breaks_its_contract_is_refused(store: Store, name: str) -> None:
    rows = raw_rows()
    BROKEN_MANIFEST[name](rows)
    with pytest.raises(DataError) as caught:
        check_manifest(store, rows)
    message = str(caught.value)
    assert message.startswith(f"manifest: expectation {name} (")
    assert "broken by 3 of " in message or name == "raw_columns"
    assert "s05, s06, s07" in message or name in ("raw_columns", "raw_id_given")


def test_a_manifest_without_rows_is_refused(store: Store) -> None:
    store.path("raw/none").mkdir(parents=True)
    pq.write_table(raw_schema().empty_table(), store.path("raw/none/rows.parquet"))
    raw = RawRef(uri="raw/none", sha256="0" * 64, rows=0, source="m.csv", modalities=("image",))
    with pytest.raises(DataError, match="raw_rows"):
        validate_manifest(raw, store)


@pytest.mark.parametrize("name", WARNED_MANIFEST)
def test_a_doubtful_manifest_is_told_of(store: Store, name: str) -> None:
    rows = raw_rows()
    WARNED_MANIFEST[name](rows)
    [warning] = check_manifest(store, rows)
    assert warning.startswith(f"manifest: expectation {name} (")


# -- predictions ---


def predicted_rows(count: int = 12) -> Rows:
    rows: Rows = []
    for number in range(count):
        probabilities = np.full(3, 0.125, np.float32)
        probabilities[number % 3] = 0.75
        rows.append(
            {
                "id": f"s{number:02d}",
                "label": LABELS[number % 3],
                "predicted": LABELS[number % 3],
                "targets": None,
                "probability": 0.75,
                "probabilities": probabilities.tolist(),
                "modalities": "image",
            }
        )
    return rows


def check_predictions(store: Store, rows: Rows, tested: int = 12, targets: tuple[Target, ...] = (ANIMAL,)) -> list[str]:
    uri = put(store, "evaluations", "predictions.parquet", rows, predictions_schema())
    report = EvalReport(
        uri=uri, sha256=digest(uri), rows=tested, model_sha256="0" * 64, metrics={}, intervals={}, by_modalities={},
        majority_share=0.5,
    )  # fmt: skip
    checkpoint = CheckpointRef(
        uri="checkpoints/x", sha256="0" * 64, rows=9, model_sha256="0" * 64, train_key="0" * 64,
        modalities=("image",), labels=LABELS, best_epoch=1, epochs=1,
    )  # fmt: skip
    folder = store.path(checkpoint.uri)
    folder.mkdir(parents=True, exist_ok=True)
    write_card(folder, LABELS, targets=[target.model_dump(mode="json") for target in targets])
    return validate_predictions(report, checkpoint, store)["warnings"]


def listed(*values: float) -> Spoil:
    return lambda rows: rows[3].update(probabilities=list(values), probability=values[0])


BROKEN_PREDICTIONS: dict[str, Spoil] = {
    "predictions_columns": without("modalities"),
    "predictions_rows": lambda rows: rows.pop(),
    "predicted_id_given": lambda rows: rows[3].update(id=None),
    "predicted_id_unique": lambda rows: rows[3].update(id="s04"),
    "predicted_given": lambda rows: rows[3].update(predicted=None),
    "predicted_known": lambda rows: rows[3].update(predicted="cow"),
    "probabilities_complete": listed(0.75, 0.25),
    "probabilities_finite": lambda rows: rows[3].update(probabilities=[0.75, math.nan, 0.25]),
    "probabilities_not_negative": listed(0.75, 0.5, -0.25),
    "probabilities_at_most_1": listed(1.5, -0.25, -0.25),
    "probabilities_sum_to_1": listed(0.75, 0.125, 0.0625),
    "probability_given": lambda rows: rows[3].update(probability=None),
    "probability_of_answer": lambda rows: rows[3].update(probability=0.5),
}
WARNED_PREDICTIONS: dict[str, Spoil] = {
    "predicted_varied": lambda rows: [
        row.update(predicted="cat", probability=0.75, probabilities=[0.75, 0.125, 0.125]) for row in rows
    ],
    "label_learned": lambda rows: rows[3].update(label="cow"),
}


def test_every_expectation_on_predictions_has_a_corruption() -> None:
    severities = {
        e.meta["name"]: e.severity for e in predictions_expectations((problem_of(ANIMAL).output_contract(ANIMAL),), 12)
    }
    assert severities == dict.fromkeys(BROKEN_PREDICTIONS, "critical") | dict.fromkeys(WARNED_PREDICTIONS, "warning")


def test_good_predictions_pass(store: Store) -> None:
    assert check_predictions(store, predicted_rows()) == []


@pytest.mark.parametrize("name", BROKEN_PREDICTIONS)
def test_predictions_that_break_their_contract_stop_the_run(store: Store, name: str) -> None:
    rows = predicted_rows()
    BROKEN_PREDICTIONS[name](rows)
    with pytest.raises(DataError) as caught:
        check_predictions(store, rows)
    severities = {name for name in BROKEN_PREDICTIONS if f"predictions: expectation {name} (" in str(caught.value)}
    also = {"probabilities_at_most_1": "probabilities_not_negative"}  # who exceeds 1 and sums to 1 goes below 0
    assert severities == {also.get(name, name)}
    assert caught.value.exit_code == 3
    if name not in ("predictions_columns", "predictions_rows", "predicted_id_given"):
        assert "for example s0" in str(caught.value)


@pytest.mark.parametrize("name", WARNED_PREDICTIONS)
def test_doubtful_predictions_are_told_of(store: Store, name: str) -> None:
    rows = predicted_rows()
    WARNED_PREDICTIONS[name](rows)
    [warning] = check_predictions(store, rows)
    assert warning.startswith(f"predictions: expectation {name} (")


def several_rows() -> Rows:
    """Sets of labels, a number and a class."""
    rows = predicted_rows()
    for number, row in enumerate(rows):
        row.update(predicted=("cat|owl", "[]")[number % 2], probability=0.5)
        row["probabilities"] = [0.9, 0.1, 0.9, -70.0, 0.25, 0.75]
    return rows


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        (None, {}),
        ("predicted_known", {"predicted": "cat|cow"}),
        ("probabilities_complete", {"probabilities": [0.9, 0.1, 0.9, -70.0, 1.0]}),
        ("probabilities_not_negative", {"probabilities": [0.9, -0.1, 0.9, -70.0, 0.25, 0.75]}),
        ("probabilities_at_most_1", {"probabilities": [1.9, 0.1, 0.9, -70.0, 0.25, 0.75]}),
        ("probabilities_sum_to_1", {"probabilities": [0.9, 0.1, 0.9, -70.0, 0.25, 0.5]}),
    ],
)
def test_every_label_column_is_judged(store: Store, name: str | None, cells: dict[str, Any]) -> None:
    targets = (
        Target(name="traits", problem="multilabel", labels=LABELS),
        Target(name="size", problem="regression", labels=()),
        Target(name="sex", problem="multiclass", labels=("f", "m")),
    )
    rows = several_rows()
    rows[3].update(cells)
    if name is None:
        assert check_predictions(store, rows, targets=targets) == []
        return
    with pytest.raises(DataError, match=rf"expectation {name} \("):
        check_predictions(store, rows, targets=targets)


def test_what_was_checked_before_costs_no_import(store: Store, tmp_path: Path) -> None:
    check_predictions(store, predicted_rows())
    check_manifest(store, raw_rows())
    script = f"""
import sys
from tasks.store import Store
from tests.stages.validate import test_manifest_and_predictions as ends
ends.put = lambda store, kind, name, rows, schema: f"{{kind}}/{{ends.digest(repr(rows))}}"
store = Store({str(store.root)!r})
assert ends.check_predictions(store, ends.predicted_rows()) == ends.check_manifest(store, ends.raw_rows()) == []
assert "great_expectations" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])
