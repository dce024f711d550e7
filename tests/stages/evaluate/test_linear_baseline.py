"""The linear baseline: it is scikit-learn's, C comes from the validation rows, and what limits it is said."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from data_contracts.refs import CleanRef, FeatureRef, InputName, RowCounts, ValidatedRef
from data_contracts.tables import features_schema, samples_schema
from tasks import progress
from tasks.evaluate import baseline_tables, linear_baseline
from tasks.evaluate.linear_baseline import fit_linear_baseline, read_tables, reads_embeddings, within_budget
from tasks.modeling.card import ModelCard
from tasks.samples import Samples
from tasks.store import Store, digest_json
from tests.support.cards import card_of

LABELS = ("a", "b", "c")
SPLITS = ["train"] * 120 + ["val"] * 60 + ["test"] * 60


class World:
    """240 rows of three classes: image embeddings of 6 numbers that tell, text embeddings of 3 of which some are missing."""

    def __init__(
        self,
        root: Path,
        noise: float = 1.0,
        shape: tuple[int, ...] = (6,),
        weights: np.ndarray | None = None,
        turned: str = "",
    ) -> None:
        self.weights = np.ones(240) if weights is None else weights
        self.store = Store(root)
        rng = np.random.default_rng(0)
        self.truth = rng.integers(0, 3, len(SPLITS))
        self.image = (3.0 * np.eye(6)[self.truth] + noise * rng.normal(size=(240, 6)) + 5).astype(np.float32)
        self.labels = [LABELS[(c + (split == turned)) % 3] for c, split in zip(self.truth, SPLITS, strict=True)]
        self.text = rng.normal(size=(240, 3)).astype(np.float32)
        self.digests = {
            name: [hashlib.sha256(f"{name}{i}".encode()).hexdigest() for i in range(240)] for name in ("image", "text")
        }
        self.missing = rng.random(240) < 0.3
        self.features: dict[InputName, FeatureRef] = {
            "image": self._put("image", self.image, shape),
            "text": self._put("text", self.text, (1, 3)),
        }
        self.valid = self._samples()

    def _put(self, name: InputName, values: np.ndarray, shape: tuple[int, ...]) -> FeatureRef:
        rows = [
            {"digest": digest, "shape": list(shape), "values": row.tolist()}
            for digest, row in zip(self.digests[name], values, strict=True)
        ]
        part = self.store.put_part(
            f"features/{name}", "k", pa.Table.from_pylist(rows, schema=features_schema("float32"))
        )
        return FeatureRef(
            uri=f"features/{name}", sha256=digest_json(name), rows=240, modality=name, encoder="hf:x",
            fingerprint=digest_json(name), parts=(part,), dtype="float32", computed=240, reused=0,
        )  # fmt: skip

    def _samples(self) -> ValidatedRef:
        columns: dict[str, Any] = {
            "id": [f"s{i:03d}" for i in range(240)],
            "label": self.labels,
            "split": SPLITS,
            "weight": self.weights,
            "row": np.arange(240),
            "image": self.digests["image"],
            "text": [None if gone else d for d, gone in zip(self.digests["text"], self.missing, strict=True)],
        }
        names = samples_schema().names
        table = pa.table({n: columns.get(n, pa.nulls(240, pa.string())) for n in names}, schema=samples_schema())
        self.store.path("v").mkdir(parents=True)
        pq.write_table(table, self.store.path("v") / "samples.parquet")
        clean = CleanRef(
            uri="v", sha256=digest_json("v"), rows=240, labels=LABELS, modalities=("image", "text"), media={},
            counts=RowCounts(rows_in=240, used=240, quarantined=0, duplicates=0),
            splits={"train": 120, "val": 60, "test": 60},
        )  # fmt: skip
        return ValidatedRef(uri="v", sha256=digest_json("v"), rows=240, clean=clean, docs="v/docs")

    def fit(self, labels: tuple[str, ...] = LABELS) -> linear_baseline.Fitted:
        fitted = fit_linear_baseline(self.valid, self.features, labels, 0, self.store)
        assert fitted is not None
        return fitted


def test_the_features_are_those_of_the_modalities_and_whether_they_are_there(tmp_path: Path) -> None:
    world = World(tmp_path)
    tables = read_tables(world.valid, world.features, LABELS, world.store)
    assert {name: table.features.shape for name, table in tables.items()} == {
        "train": (120, 10), "val": (60, 10), "test": (60, 10),
    }  # fmt: skip
    dense = np.concatenate(
        [world.image, np.where(world.missing[:, None], 0, world.text), ~world.missing[:, None]], axis=1
    )
    expected = StandardScaler().fit(dense[:120]).transform(dense)
    assert np.allclose(np.concatenate([tables[s].features for s in ("train", "val", "test")]), expected, atol=1e-4)
    assert tables["val"].truth.tolist() == world.truth[120:180].tolist()


def test_it_is_scikit_learns_with_the_c_that_is_best_on_validation_rows(tmp_path: Path) -> None:
    world = World(tmp_path)
    fitted = world.fit()
    tables = read_tables(world.valid, world.features, LABELS, world.store)
    models = {
        c: LogisticRegression(C=c, max_iter=2000).fit(tables["train"].features, tables["train"].truth)
        for c in linear_baseline.GRID
    }
    reached = {c: model.score(tables["val"].features, tables["val"].truth) for c, model in models.items()}
    assert reached[fitted.c] == max(reached.values())
    assert np.allclose(fitted.probabilities, models[fitted.c].predict_proba(tables["test"].features), atol=0.02)
    assert (fitted.rows, fitted.width, fitted.notes) == (120, 10, ())


def test_the_test_rows_labels_choose_nothing_the_validation_rows_do(tmp_path: Path) -> None:
    plain = World(tmp_path / "plain").fit()
    test, val = (World(tmp_path / split, turned=split).fit() for split in ("test", "val"))
    assert (test.c, test.probabilities.tolist()) == (plain.c, plain.probabilities.tolist())
    assert val.c < plain.c, "where every validation label is wrong, the least certain model is the best"


def test_rows_count_as_much_as_they_weigh(tmp_path: Path) -> None:
    weights = np.where(np.arange(240) % 3 == 0, 10.0, 0.1)
    world = World(tmp_path, noise=3.0, weights=weights)
    fitted, tables = world.fit(), read_tables(world.valid, world.features, LABELS, world.store)
    train, test = tables["train"], tables["test"]
    model = LogisticRegression(C=fitted.c, max_iter=2000).fit(train.features, train.truth, sample_weight=weights[:120])
    flat = LogisticRegression(C=fitted.c, max_iter=2000).fit(train.features, train.truth)
    assert np.allclose(fitted.probabilities, model.predict_proba(test.features), atol=0.02)
    assert not np.allclose(fitted.probabilities, flat.predict_proba(test.features), atol=0.1)


@pytest.mark.parametrize(
    ("weight_of_wrong", "c"), [(100.0, min(linear_baseline.GRID)), (0.0, max(linear_baseline.GRID))]
)
def test_of_equally_accurate_models_the_weighted_loss_decides(tmp_path: Path, weight_of_wrong: float, c: float) -> None:
    """Half of the validation rows have another class than all models say: sure models are wrong where those weigh more."""
    world = World(tmp_path, noise=0.1)
    tables = read_tables(world.valid, world.features, LABELS, world.store)
    wrong = np.arange(60) % 2 == 0
    truth = np.where(wrong, (tables["val"].truth + 1) % 3, tables["val"].truth)
    val = baseline_tables.Table(tables["val"].features, truth, np.where(wrong, weight_of_wrong, 1.0))
    assert linear_baseline.best_of_grid(tables["train"], val, tables["test"].features, 3, [])[1] == c


def test_the_same_rows_give_the_same_linear_baseline(tmp_path: Path) -> None:
    one, other = World(tmp_path / "one").fit(), World(tmp_path / "other", shape=(1, 6)).fit()
    assert np.array_equal(one.probabilities, other.probabilities)
    assert one.c == other.c


def test_a_class_without_training_rows_gets_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    fitted = world.fit(("0", *LABELS, "z"))
    assert fitted.probabilities.shape == (60, 5)
    assert (fitted.probabilities[:, [0, 4]] == 0).all()
    assert np.allclose(fitted.probabilities.sum(axis=1), 1)


def test_one_class_has_no_linear_baseline(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert fit_linear_baseline(world.valid, world.features, ("a",), 0, world.store) is None


def test_rows_beyond_the_budget_are_left_out_and_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_baseline, "BUDGET", 50 * 10 * 3)
    fitted = World(tmp_path).fit()
    assert fitted.rows == 50
    assert "50 of 120 training rows" in fitted.notes[0]
    assert within_budget(1000, 30, 1).tolist() == sorted(set(within_budget(1000, 30, 1).tolist()))
    assert within_budget(10, 30, 1).tolist() == list(range(10))


def test_a_fit_that_did_not_converge_is_told_and_not_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_baseline, "MAX_ITERATIONS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = World(tmp_path).fit()
    assert "not converged after 1 iterations" in fitted.notes[0]


def test_only_embeddings_have_a_linear_baseline() -> None:
    frozen, trained = ({"encoder": "hf:x", "reads": reads} for reads in ("embedding", "inputs"))
    for other, expected in ((frozen, True), (trained, False)):
        card = card_of(LABELS, ("image", "text"), encoders={"image": frozen, "text": other})
        assert reads_embeddings(ModelCard.model_validate(card)) is expected


class Wide(World):
    """Image embeddings of 300 numbers, one of them the same in every row."""

    def _put(self, name: InputName, values: np.ndarray, shape: tuple[int, ...]) -> FeatureRef:
        if name == "image":
            values = np.tile(values, (1, 50)) + np.arange(300, dtype=np.float32)
            values[:, 290] = 7.0
            self.image, shape = values, (300,)
        return super()._put(name, values, shape)


def test_every_column_is_standardised_and_a_constant_one_is_nothing(tmp_path: Path) -> None:
    world = Wide(tmp_path)
    tables = read_tables(world.valid, world.features, LABELS, world.store)
    found = np.concatenate([tables[split].features for split in ("train", "val", "test")])[:, :300]
    assert (found[:, 290] == 0).all()
    assert np.allclose(found, StandardScaler().fit(world.image[:120]).transform(world.image), atol=1e-3)


@pytest.mark.parametrize("rows", [7, 4096])
def test_blocks_of_rows_are_standardised_as_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    world = Wide(tmp_path)
    monkeypatch.setattr(baseline_tables, "CHUNK", rows)
    tables = read_tables(world.valid, world.features, LABELS, world.store)
    text = np.where(world.missing[:, None], 0, world.text)
    presence = (~world.missing[:, None]).astype(np.float32)
    samples = Samples.read(world.store.path(world.valid.uri))
    whole = baseline_tables.make_tables(samples, LABELS, [(world.image, 1.0), (text, 1.0), (presence, 1.0)])
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(tables[split].features, whole[split].features)


def test_rows_beyond_the_budget_are_not_copied_and_scale_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Wide(tmp_path)
    seen: list[np.ndarray] = []
    fit = linear_baseline.best_of_grid
    monkeypatch.setattr(linear_baseline, "BUDGET", 50 * 304 * 3)
    monkeypatch.setattr(
        linear_baseline, "best_of_grid", lambda train, *rest: (seen.append(train.features), fit(train, *rest))[1]
    )
    fitted = world.fit()
    assert fitted.rows == 50
    chosen = within_budget(120, 304 * 3, 0)
    whole = read_tables(world.valid, world.features, LABELS, world.store)["train"].features
    np.testing.assert_array_equal(seen[0], whole[chosen])


def test_rows_of_labels_that_the_model_does_not_know_are_test_rows_alone(tmp_path: Path) -> None:
    world = World(tmp_path, weights=np.arange(240) / 100)
    tables = read_tables(world.valid, world.features, ("b", "a"), world.store)
    places = {"train": range(120), "val": range(120, 180), "test": range(180, 240)}
    for split, rows in places.items():
        kept = [row for row in rows if split == "test" or world.labels[row] != "c"]
        assert tables[split].truth.tolist() == [{"b": 0, "a": 1}.get(world.labels[row], -1) for row in kept]
        assert tables[split].weights.tolist() == [row / 100 for row in kept]
        assert tables[split].weights.dtype == np.float64
        assert len(tables[split].features) == len(kept)


def test_modalities_that_no_row_lacks_have_no_column_of_their_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    image = {"image": world.features["image"]}
    assert read_tables(world.valid, image, LABELS, world.store)["train"].features.shape == (120, 6)
    assert fit_linear_baseline(world.valid, image, LABELS, 0, world.store) is not None


def test_its_steps_are_told_until_the_validation_loss_rises(tmp_path: Path) -> None:
    steps: list[tuple[Any, ...]] = []
    with progress.listening(lambda *what: steps.append(what)):
        World(tmp_path, turned="val").fit()  # the surer a model, the more it is wrong
    begin, end = ("evaluate", 0, 10, "logistic regression"), ("evaluate", 10, 10, "logistic regression")
    fits = [("evaluate", n, 10, f"logistic regression, C = {c:g}") for n, c in enumerate(linear_baseline.GRID)]
    assert steps == [begin, *fits[:2], end]


def test_what_limits_a_fit_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_baseline, "BUDGET", 50 * 10 * 3)
    monkeypatch.setattr(linear_baseline, "MAX_ITERATIONS", 1)
    assert World(tmp_path).fit().notes == (
        "fitted on 50 of 120 training rows, so that it takes no longer",
        "not converged after 1 iterations: a longer fit may reach more",
    )


def test_a_budget_leaves_two_rows_at_least_and_the_seed_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_baseline, "BUDGET", 100)
    assert within_budget(10, 10, 0).tolist() == list(range(10)), "as many as there may be"
    assert within_budget(100, 0, 0).tolist() == list(range(100))
    assert len(within_budget(10, 1000, 0)) == 2
    chosen = within_budget(1000, 5, 4)
    assert chosen.tolist() == sorted(np.random.default_rng(4).choice(1000, 20, replace=False).tolist())
