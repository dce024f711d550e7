"""The stage, with a model whose probabilities are given: what is evaluated, on which rows, against whom."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.refs import (
    ChampionRef,
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    InputName,
    PreparedChampion,
    RowCounts,
    ValidatedRef,
)
from data_contracts.slices import SLICES, SliceReport
from data_contracts.tables import metadata_schema, predictions_schema, samples_schema
from tasks.config import load_config
from tasks.errors import DataError, UsageError
from tasks.evaluate.comparison import champion_outputs
from tasks.evaluate.evaluate import evaluate, evaluate_key, subsets
from tasks.evaluate.linear_baseline import Fitted
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.training_rows import ROWS, write_rows
from tasks.problems.scoring import align
from tasks.samples import METADATA, Samples
from tasks.store import Store, digest_json
from tests.support.cards import TINY, write_card

LABELS = ("a", "b", "c")
CONFIG = load_config({}, ["evaluate.classical_rows=0"])  # these rows have features only, no media
TRUTH = ["a", "b", "c"] * 20


def put_samples(store: Store, uri: str, split: str = "test", labels: list[str] = TRUTH) -> ValidatedRef:
    rows = len(labels)
    columns: dict[str, Any] = {
        "id": [f"s{i}" for i in range(rows)] + ["t"],
        "label": [*labels, "a"],
        "split": [split] * rows + ["train"],
        "weight": [1.0] * (rows + 1),
        "row": list(range(rows + 1)),
        "image": ["i"] * (rows + 1),
        "audio": [None, *["s"] * rows],
    }
    names = samples_schema().names
    table = pa.table({n: columns.get(n, pa.nulls(rows + 1, pa.string())) for n in names}, schema=samples_schema())
    store.path(uri).mkdir(parents=True)
    pq.write_table(table, store.path(uri) / "samples.parquet")
    clean = CleanRef(
        uri=uri, sha256=digest_json(uri), rows=rows, labels=tuple(sorted(set(labels))), modalities=("image", "audio"),
        counts=RowCounts(rows_in=rows, used=rows, quarantined=0, duplicates=0), media={},
        splits={"train": 1, "val": 0, "test": rows if split == "test" else 0},
    )  # fmt: skip
    return ValidatedRef(uri=uri, sha256=digest_json([uri, labels]), rows=rows, clean=clean, docs=f"{uri}/docs")


FROZEN = {"encoder": "hf:x", "reads": "embedding"}


def put_model(store: Store, name: str, labels: tuple[str, ...], accuracy: float, **card: Any) -> CheckpointRef:
    """A "model" that answers the first share of the rows rightly; see predict_probabilities below."""
    folder = store.path(f"checkpoints/{name}")
    folder.mkdir(parents=True)
    write_card(folder, labels, **card)
    (folder / "accuracy.json").write_text(json.dumps(accuracy))
    digest = digest_json([name, accuracy])
    return CheckpointRef(
        uri=f"checkpoints/{name}", sha256=digest, rows=1, model_sha256=digest, train_key=digest,
        modalities=("image", "audio"), labels=labels, best_epoch=1, epochs=1,
    )  # fmt: skip


def load_model(folder: Path, card: ModelCard) -> dict[str, Any]:
    return {"labels": list(card.labels), "accuracy": json.loads((folder / "accuracy.json").read_text())}


def predict_probabilities(
    model: dict[str, Any], samples: Samples, features: Any, store: Store, present: tuple[InputName, ...] | None = None
) -> np.ndarray:
    """One modality alone loses every second right answer. A label the model does not know it cannot answer."""
    labels, share = model["labels"], model["accuracy"]
    found = np.full((len(samples), len(labels)), 0.1 / (len(labels) - 1), dtype=np.float32)
    for i, label in enumerate(samples.labels):
        right = i < share * len(samples) and (present is None or len(present) > 1 or i % 2 == 0) and label in labels
        answer = labels.index(label) if right else (labels.index(label) + 1 if label in labels else 0) % len(labels)
        found[i, answer] = 0.9
    return found


@pytest.fixture(name="store")
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, function in (("inference", predict_probabilities), ("package", load_model)):
        module = ModuleType(f"tasks.modeling.{name}")
        module.__spec__ = importlib.util.find_spec(f"tasks.modeling.{name}")
        setattr(module, function.__name__, function)
        monkeypatch.setitem(sys.modules, f"tasks.modeling.{name}", module)
    return Store(tmp_path)


def prepared_champion(store: Store, labels: tuple[str, ...], accuracy: float, valid: ValidatedRef) -> PreparedChampion:
    model = put_model(store, "champion", labels, accuracy)
    champion = ChampionRef(
        uri=model.uri, sha256=model.sha256, rows=1, name="m", version="7", model_sha256=model.model_sha256
    )
    write_rows(Samples.read(store.path(valid.uri)), store.path(champion.uri) / ROWS)
    return PreparedChampion(champion=champion, valid=valid, features={})


def test_slices_lie_beside_the_report(store: Store) -> None:
    """Of 60 rows the candidate has the first 54 right, the champion the first 30; every second row is ann's."""
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    ids = Samples.read(store.path("v")).ids
    cells = {"id": ids, "metadata": [json.dumps({"speaker": "ann" if n % 2 else "bob"}) for n in range(len(ids))]}
    pq.write_table(pa.table(cells, schema=metadata_schema()), store.path("v") / METADATA)
    rules = '[{metric="accuracy", max_drop=0.1, modalities="audio"}, {metric="accuracy", min=0, slice="speaker=*"}]'
    config = load_config({}, [f"gate.rules={rules}", "evaluate.classical_rows=0"])
    report = evaluate(valid, {}, model, prepared_champion(store, LABELS, 0.5, valid), config, store)
    parts = SliceReport.model_validate_json((store.path(report.uri) / SLICES).read_text())
    assert [by.name for by in parts.by] == ["speaker", "modalities"]
    ann, bob = (each for each in parts.slices if each.slice == "speaker")
    assert (ann.name, ann.rows, ann.metrics["accuracy"], bob.rows) == ("speaker=ann", 30, 0.9, 30)
    assert ann.reference is not None
    assert (parts.champion, ann.reference.metrics["accuracy"], ann.reference.changes["accuracy"]) == ("7", 0.5, 0.4)
    assert parts.inputs["audio"].metrics["accuracy"] == pytest.approx(0.45)
    assert report.slice_regressions is not None
    assert report.slice_regressions.columns == ("speaker",)
    keys = {evaluate_key(valid, {}, model, None, each, store) for each in (CONFIG, config)}
    pq.write_table(
        pa.table(cells | {"metadata": [None] * len(ids)}, schema=metadata_schema()), store.path("v") / METADATA
    )
    assert len(keys | {evaluate_key(valid, {}, model, None, config, store)}) == 3, "other cells are other slices"


def test_every_test_row_is_judged(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    report = evaluate(valid, {}, model, None, CONFIG, store)
    assert report.rows == 60
    assert report.metrics["test"]["accuracy"] == pytest.approx(0.9)
    assert report.majority_share == pytest.approx(1 / 3)
    assert list(report.by_modalities) == ["image", "audio", "image+audio"]
    assert report.by_modalities["image"]["accuracy"] == pytest.approx(0.45)
    assert report.by_modalities["image+audio"] == report.metrics["test"]
    assert report.champion_metrics is None
    table = pq.read_table(store.path(report.uri) / "predictions.parquet")
    assert table.schema.equals(predictions_schema())
    assert table["modalities"].to_pylist()[:2] == ["image", "image+audio"]
    assert np.allclose(np.array(table["probabilities"].to_pylist()).sum(axis=1), 1)
    detail = json.loads((store.path(report.uri) / "detail.json").read_text())
    assert detail["mistakes_in_all"] == len(detail["mistakes"]) == 6
    assert detail["mistakes"][0]["media"] == {"image": "i", "audio": "s"}
    assert [row["n"] for row in detail["slices"] if row["by"] == "modalities"] == [59, 1]


def test_a_published_model_is_not_judged_on_rows_that_it_was_trained_on(store: Store) -> None:
    """What `--mode "evaluate only"` finds on other data, or under another split column, than those of its training."""
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    ids = [f"s{number}" for number in range(60)]
    for seen in (0, 12, 60):
        splits = ["val" if number % 2 else "train" for number in range(seen)] + ["test"] * (60 - seen)
        write_rows(Samples(pa.table({"id": ids, "split": splits})), store.path(model.uri) / ROWS)
        if seen < 60:
            report = evaluate(valid, {}, model, None, CONFIG, store)
            assert (report.rows, report.seen) == (60 - seen, seen)
            assert report.metrics["test"]["accuracy"] == pytest.approx(0.9, abs=0.02)
            table = pq.read_table(store.path(report.uri) / "predictions.parquet")
            assert table["id"].to_pylist() == ids[seen:]
    with pytest.raises(DataError, match="all 60 rows are among those that the model was trained or validated on"):
        evaluate(valid, {}, model, None, CONFIG, store)


def test_a_second_evaluation_is_read_from_the_store(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    first = evaluate(valid, {}, model, None, CONFIG, store)
    store.path("checkpoints/m/model.json").unlink()
    assert evaluate(valid, {}, model, None, CONFIG, store) == first
    assert EvalReport.model_validate_json(first.model_dump_json()) == first


def test_the_champion_is_scored_on_the_same_rows(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    report = evaluate(valid, {}, model, prepared_champion(store, ("c", "a", "b"), 0.6, valid), CONFIG, store)
    assert report.champion_version == "7"
    assert report.champion_metrics is not None
    assert report.champion_metrics["accuracy"] == pytest.approx(0.6)
    value, low, high = report.differences["accuracy"]
    assert value == pytest.approx(0.3)
    assert 0 < low < value < high


def test_a_label_unknown_to_the_champion_counts_as_wrong(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 1.0)
    report = evaluate(valid, {}, model, prepared_champion(store, ("a", "z", "b"), 1.0, valid), CONFIG, store)
    assert report.champion_metrics is not None
    assert report.champion_metrics["accuracy"] == pytest.approx(2 / 3)
    assert report.metrics["test"]["accuracy"] == 1.0


def test_a_champion_without_one_label_in_common_is_refused(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.8)
    with pytest.raises(UsageError, match="none in common"):
        evaluate(valid, {}, model, prepared_champion(store, ("x", "y", "z"), 1.0, valid), CONFIG, store)


def test_rows_that_the_champion_cannot_read_take_no_part(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    fewer = put_samples(store, "w", labels=TRUTH[:30])
    report = evaluate(valid, {}, model, prepared_champion(store, LABELS, 0.5, fewer), CONFIG, store)
    assert report.rows == 60
    assert report.champion_metrics is not None
    assert report.champion_metrics["accuracy"] == pytest.approx(0.5)
    assert report.differences["accuracy"][0] == pytest.approx(0.5)
    assert report.champion_rows == 30
    assert json.loads((store.path(report.uri) / "detail.json").read_text())["champion_rows"] == 30


def test_the_champion_reads_its_own_row_of_every_sample(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its table may hold the samples at other places, and others beside them."""
    read: list[str] = []

    def note(model: Any, samples: Samples, *_: Any) -> np.ndarray:
        read.extend(samples.ids)
        return np.array([[float(name[1:])] for name in samples.ids])

    monkeypatch.setattr(sys.modules["tasks.modeling.inference"], "predict_probabilities", note)
    against = prepared_champion(store, LABELS, 0.5, put_samples(store, "v"))
    table = pq.read_table(store.path("v") / "samples.parquet").take(pa.array([7, 4, 0, 60, 1, 3]))
    pq.write_table(table, store.path("v") / "samples.parquet")
    shared, told = champion_outputs(
        Samples(pa.table({"id": ["s0", "s1", "s2", "s3", "s4", "s5"]})),
        against,
        read_card(store.path(against.champion.uri)),
        store,
    )
    assert shared.tolist() == [0, 1, 3, 4]
    assert read == ["s0", "s1", "s3", "s4"]
    assert told.tolist() == [[0], [1], [3], [4]]


def test_no_test_rows_is_a_data_error(store: Store) -> None:
    valid, model = put_samples(store, "v", split="val"), put_model(store, "m", LABELS, 0.9)
    with pytest.raises(DataError, match="split 'test': 0 rows"):
        evaluate(valid, {}, model, None, CONFIG, store)
    assert not store.path("evaluations").exists()


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        (("image",), [("image",)]),
        (("audio", "image"), [("image",), ("audio",), ("image", "audio")]),
        (("image", "text", "audio"), [("image",), ("text",), ("audio",), ("image", "text"), ("image", "audio"),
                                      ("text", "audio"), ("image", "text", "audio")]),
        (("text_2", "text"), [("text",), ("text_2",), ("text", "text_2")]),
        (("image", "image_2", "text", "text_2", "audio"), [
            ("image",), ("image_2",), ("text",), ("text_2",), ("audio",), ("image", "image_2", "text", "text_2"),
            ("image", "image_2", "text", "audio"), ("image", "image_2", "text_2", "audio"),
            ("image", "text", "text_2", "audio"), ("image_2", "text", "text_2", "audio"),
            ("image", "image_2", "text", "text_2", "audio")]),
    ],
)  # fmt: skip
def test_subsets(modalities: tuple[InputName, ...], expected: list[tuple[InputName, ...]]) -> None:
    assert subsets(modalities) == expected


def test_align_moves_columns_by_name() -> None:
    moved = align(np.array([[0.7, 0.3]]), ("b", "a"), ("a", "b", "c"))
    assert moved.tolist() == [[0.3, 0.7, 0.0]]


def test_what_changes_the_key(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.9)
    feature = FeatureRef(
        uri="f", sha256=digest_json("f"), rows=1, modality="image", encoder="tiny", fingerprint=digest_json("p"),
        parts=(), dtype="uint8", computed=1, reused=0,
    )  # fmt: skip
    plain = evaluate(valid, {"image": feature}, model, None, CONFIG, store).uri
    assert (
        evaluate(
            valid,
            {"image": feature},
            model,
            None,
            load_config({}, ["train.epochs=3", "evaluate.classical_rows=0"]),
            store,
        ).uri
        == plain
    )
    assert (
        evaluate(
            valid, {"image": feature}, model, None, load_config({}, ["seed=1", "evaluate.classical_rows=0"]), store
        ).uri
        != plain
    )
    assert evaluate(valid, {}, model, None, CONFIG, store).uri != plain


def test_tuned_offsets_decide_for_candidate_and_champion_and_leave_probabilities(store: Store) -> None:
    valid = put_samples(store, "v")
    always_a = {"decision": {"offsets": [9.0, 0.0, 0.0]}}
    model = put_model(store, "m", LABELS, 0.9, **always_a)
    against = prepared_champion(store, ("c", "a", "b"), 0.6, valid)
    write_card(store.path(against.champion.uri), ("c", "a", "b"), **always_a)
    report = evaluate(valid, {}, model, against, CONFIG, store)
    assert report.metrics["test"]["accuracy"] == pytest.approx(1 / 3)
    assert report.by_modalities["image"]["accuracy"] == pytest.approx(1 / 3)
    assert report.intervals["accuracy"][0] < 1 / 3 < report.intervals["accuracy"][1]
    assert report.champion_metrics is not None
    assert report.champion_metrics["accuracy"] == pytest.approx(1 / 3), "its first offset is that of c"
    assert report.differences["accuracy"][0] == pytest.approx(0)
    table = pq.read_table(store.path(report.uri) / "predictions.parquet")
    assert set(table["predicted"].to_pylist()) == {"a"}
    given = np.array(table["probabilities"].to_pylist())
    assert given.max(axis=1) == pytest.approx(0.9)
    assert table["probability"].to_numpy() == pytest.approx(given[:, 0])
    detail = json.loads((store.path(report.uri) / "detail.json").read_text())
    assert {cell[1] for cell in detail["confusion"]} == {0}


def test_frozen_features_get_a_linear_baseline(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("tasks.evaluate.linear_baseline")
    truth = np.array([LABELS.index(label) for label in TRUTH])
    given = Fitted(np.eye(3)[np.where(np.arange(60) < 48, truth, (truth + 1) % 3)], 0.01, 1, 7, ("a note",))
    monkeypatch.setattr(module, "fit_linear_baseline", lambda *args: given)
    valid = put_samples(store, "v")
    frozen = put_model(store, "m", LABELS, 0.9, encoders=dict.fromkeys(("image", "audio"), FROZEN))
    linear_baseline = evaluate(valid, {}, frozen, None, CONFIG, store).linear_baseline
    assert linear_baseline is not None
    assert linear_baseline.metrics["accuracy"] == pytest.approx(0.8)
    assert linear_baseline.differences["accuracy"][0] == pytest.approx(0.1)
    assert (linear_baseline.c, linear_baseline.width, linear_baseline.notes) == (0.01, 7, ("a note",))
    trained = put_model(store, "n", LABELS, 0.9, encoders={"image": FROZEN, "audio": TINY})
    assert evaluate(valid, {}, trained, None, CONFIG, store).linear_baseline is None


def test_old_and_new_test_rows_are_told_apart(store: Store) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.5)
    against = prepared_champion(store, LABELS, 0.8, valid)
    folder = store.path(against.champion.uri)
    before = pa.table({"id": [f"s{i}" for i in range(20)] + ["s50"], "split": ["test"] * 20 + ["train"]})
    write_rows(Samples(before), folder / ROWS)
    parts = evaluate(valid, {}, model, against, CONFIG, store).forgetting
    assert {name: part.rows for name, part in parts.items()} == {"old": 20, "new": 39}, "s50 is left out"
    assert parts["old"].candidate["accuracy"] == parts["old"].champion["accuracy"] == 1.0
    assert parts["new"].candidate["accuracy"] == pytest.approx(10 / 39)
    assert parts["new"].champion["accuracy"] == pytest.approx(28 / 39)
    value, low, high = parts["new"].differences["accuracy"]
    assert value == pytest.approx(-18 / 39)
    assert low < value < high < 0


@pytest.mark.parametrize("known", [0, 60])
def test_only_old_or_only_new_rows_are_not_told_apart(store: Store, known: int) -> None:
    valid, model = put_samples(store, "v"), put_model(store, "m", LABELS, 0.5)
    against = prepared_champion(store, LABELS, 0.8, valid)
    rows = pa.table({"id": [f"s{i}" for i in range(known)] + ["z"], "split": ["test"] * known + ["train"]})
    write_rows(Samples(rows), store.path(against.champion.uri) / ROWS)
    assert evaluate(valid, {}, model, against, CONFIG, store).forgetting == {}
