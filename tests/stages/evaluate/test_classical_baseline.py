"""The classical baseline: what chooses it, what it is fitted to, and that it is computed once."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from data_contracts.baselines import ClassicalBaselines
from data_contracts.refs import ValidatedRef
from tasks.config import RunConfig, load_config
from tasks.errors import EnvironmentFailed
from tasks.evaluate import classical_baseline
from tasks.evaluate.classical_baseline import Fits, fit_classical, measure_classical, read_features, readable
from tasks.evaluate.comparison import ComparisonRows
from tasks.evaluate.scorers import Columns
from tasks.ingest.ingest import ingest
from tasks.ingest.manifest.scan import scan
from tasks.modeling.card import ModelCard
from tasks.modeling.classical import ClassicalText
from tasks.problems.metric import Floats
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tests.support.cards import card_of

CONFIG = load_config({}, ["runtime.workers=1", "media.timeout_s=600", "split.near_duplicates=false"])
SPLITS = ["train"] * 120 + ["val"] * 60 + ["test"] * 60
WORDS = ("river", "engine", "violin")
CHANCE = np.random.default_rng(0)
TRUTH = CHANCE.integers(0, 3, len(SPLITS))
SHOWN = np.where(CHANCE.random(len(SPLITS)) < 0.8, TRUTH, CHANCE.integers(0, 3, len(SPLITS)))


def validated(root: Path, store: Store, turned: str = "", left_out: str = "") -> ValidatedRef:
    """Texts with a word that mostly names the class; the labels of one split turned by one class."""
    root.mkdir(exist_ok=True)
    path = root / f"texts{turned}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "split"])
        for row, split in enumerate(SPLITS):
            if split == left_out:
                continue
            label = WORDS[(TRUTH[row] + (split == turned)) % 3]
            writer.writerow([f"s{row:03d}", f"number {row} is about the {WORDS[SHOWN[row]]} of somebody", label, split])
    clean = ingest(scan(CONFIG, store, path), CONFIG, store)
    return ValidatedRef(
        uri=clean.uri, sha256=digest_json(clean.sha256), rows=clean.rows, clean=clean, docs=f"{clean.uri}/docs"
    )


def fit(valid: ValidatedRef, store: Store, config: RunConfig = CONFIG) -> tuple[Fits, dict[str, Floats]]:
    found, probabilities = fit_classical(valid, ("text",), config, store)
    return found, dict(probabilities)


def accuracy(found: Fits, probabilities: Floats) -> float:
    answers = [found.labels[place] for place in probabilities.argmax(axis=1)]
    truth = [WORDS[label] for label, split in zip(TRUTH, SPLITS, strict=True) if split == "test"]
    return float(np.mean([answer == label for answer, label in zip(answers, truth, strict=True)]))


def test_it_learns_from_the_words_and_is_fitted_to_more_and_more_rows(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    found, probabilities = fit(validated(tmp_path / "data", store), store)
    assert [(each.share, each.rows) for each in found.fits] == [(0.25, 30), (0.5, 60), (1.0, 120)]
    assert {each.width for each in found.fits} == {ClassicalText.width}
    assert all(np.isclose(each.sum(axis=1), 1).all() for each in probabilities.values())
    assert accuracy(found, probabilities["text 1"]) > 0.7


def test_permuted_test_labels_change_no_choice(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (ours, own), (other, turned) = (fit(validated(tmp_path / "data", store, name), store) for name in ("", "test"))
    assert own.keys() == turned.keys()
    assert ours.fits == other.fits
    order = [other.labels.index(label) for label in ours.labels]
    for name, probabilities in own.items():
        assert probabilities.tobytes() == np.ascontiguousarray(turned[name][:, order]).tobytes()


def test_validation_labels_do_change_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (ours, _), (other, _) = (fit(validated(tmp_path / "data", store, name), store) for name in ("", "val"))
    assert [each.c for each in ours.fits] != [each.c for each in other.fits]


def test_it_is_fitted_once_for_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    valid = validated(tmp_path / "data", store)
    first, probabilities = fit(valid, store)
    monkeypatch.setattr(classical_baseline, "best_of_grid", None)  # would raise if it was called
    again, same = fit(valid, store)
    assert again == first
    assert {name: each.tobytes() for name, each in same.items()} == {
        name: each.tobytes() for name, each in probabilities.items()
    }
    with pytest.raises(TypeError):
        fit(valid, store, CONFIG.model_copy(update={"seed": 5}))


def test_features_are_those_of_each_rows_own_text(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    valid = validated(tmp_path / "data", store)
    samples = Samples.read(store.path(valid.uri))
    features = read_features(samples, "text", valid, CONFIG, store)
    texts = {digest: row for row, digest in enumerate(samples.digests("text"))}
    assert features.shape == (len(samples), ClassicalText.width)
    assert len({features[row].tobytes() for row in texts.values()}) == len(texts)


def test_media_that_are_gone_are_told_and_not_taken_for_missing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    valid = validated(tmp_path / "data", store)
    shutil.rmtree(store.path("media"))
    with pytest.raises(EnvironmentFailed, match="240 media are not in the store any more"):
        fit(valid, store)


def test_without_training_rows_there_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    found, probabilities = fit(validated(tmp_path / "data", store, left_out="train"), store)
    assert (found.fits, probabilities) == ((), {})


def test_too_small_a_budget_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")
    monkeypatch.setattr(classical_baseline, "BUDGET", 50 * ClassicalText.width * 3)
    found, _ = fit(validated(tmp_path / "data", store), store)
    assert [each.rows for each in found.fits] == [30, 50, 50]
    assert "50 of 120 training rows" in found.fits[-1].notes[0]


def test_tables_have_no_classical_features() -> None:
    assert readable(("tabular", "audio", "image_2", "image")) == ("image", "image_2", "audio")


# -- beside a model ---


def measured(valid: ValidatedRef, store: Store, config: RunConfig = CONFIG) -> ClassicalBaselines:
    """Beside a model that is right about every test row; labels in another order than the baseline's."""
    rows = ComparisonRows.read(valid, store)
    samples = rows.every.take(rows.places)
    labels = ("violin", "never seen", "river", "engine")
    card = ModelCard.model_validate(card_of(labels, ("text",)))
    columns = Columns(samples, card, (labels,))
    outputs = np.array([[float(label == each) for each in labels] for label in samples.labels])
    found = measure_classical(
        valid, {"text": columns.scorer(outputs)}, columns, rows, np.arange(len(samples.ids)), config, store
    )
    assert found is not None
    return found


def test_it_is_scored_on_the_models_rows_and_labels_and_paired_with_the_model(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    valid = validated(tmp_path / "data", store)
    fits, probabilities = fit(valid, store)
    right = accuracy(fits, probabilities["text 1"])
    found = measured(valid, store)
    assert found.skipped is None
    assert found.by_inputs.keys() == {"text"}
    baseline = found.by_inputs["text"]
    assert baseline.metrics["accuracy"] == pytest.approx(right)
    assert (baseline.rows, baseline.width, baseline.c) == (120, ClassicalText.width, fits.fits[-1].c)
    difference, low, high = baseline.differences["accuracy"]
    assert difference == pytest.approx(1 - right), "the model minus the baseline"
    assert 0 < low < difference < high


def test_the_curve_is_that_of_the_shares_and_the_gain_of_the_last_half(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    valid = validated(tmp_path / "data", store)
    fits, probabilities = fit(valid, store)
    figures = [accuracy(fits, probabilities[each.name]) for each in fits.fits]
    found = measured(valid, store)
    assert [(point.share, point.rows) for point in found.curve] == [(0.25, 30), (0.5, 60), (1.0, 120)]
    assert [point.accuracy for point in found.curve] == pytest.approx(figures)
    for point in found.curve:
        assert point.interval is not None
        assert point.interval[0] < point.accuracy < point.interval[1]
    assert found.gain is not None
    assert found.gain[0] == pytest.approx(figures[2] - figures[1])


def test_why_there_is_none_is_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    valid = validated(tmp_path / "data", store)
    few, just = (load_config({}, [f"evaluate.classical_rows={rows}"]) for rows in (239, 240))
    assert measured(valid, store, just).skipped is None
    assert measured(valid, store, few).skipped == "240 rows are more than evaluate.classical_rows = 239"
