import json

import pytest
import torch

from tasks import progress
from tasks.errors import DataError
from tasks.modeling.package import load_model
from tasks.store import digest_file
from tasks.train.train import train, train_key


def test_a_checkpoint_is_made_once_and_then_found(make_world):
    world = make_world()
    told = []
    with progress.listening(lambda *what: told.append(what)):
        ref = train(*world.all, isolate=False)
        assert train(*world.all, isolate=False) == ref
    assert [what[:3] for what in told] == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3)]
    assert told[0][3].startswith("val loss ")
    folder = world.store.path(ref.uri)
    assert digest_file(folder / "model.safetensors") == ref.model_sha256
    assert load_model(folder).modalities == ref.modalities == ("image", "audio")
    history = json.loads((folder / "history.json").read_text())
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2, 3]
    assert all(entry["grad_norm"] > 0 for entry in history["epochs"])
    assert history["best_epoch"] == ref.best_epoch
    assert not list((world.store.root / "work").glob("train-*/*"))


def test_same_seed_same_hash_other_seed_other_hash(make_world):
    one, same, other = make_world(), make_world(), make_world("seed=1")
    first = train(*one.all, isolate=False)
    torch.rand(7)  # the caller's generator is no part of the result
    again = train(*same.all, isolate=False)
    assert again.model_sha256 == first.model_sha256
    assert again.sha256 == first.sha256
    assert train(*other.all, isolate=False).model_sha256 != first.model_sha256


def test_the_callers_random_numbers_and_settings_stay_as_they_were(make_world):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    train(*make_world("train.epochs=1").all, isolate=False)
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_it_learns(make_world):
    world = make_world("train.epochs=12", "train.augment=false", "train.average_decay=0.5", "train.learning_rate=0.01")
    ref = train(*world.all, isolate=False)
    history = json.loads((world.store.path(ref.uri) / "history.json").read_text())["epochs"]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]


def test_patience_ends_it_and_the_best_epoch_is_kept(make_world):
    world = make_world("train.epochs=30", "train.patience=1", "train.learning_rate=0.3", "train.average_decay=0")
    ref = train(*world.all, isolate=False)
    assert ref.epochs == ref.best_epoch + 1 < 30


def test_one_modality_is_enough(make_world):
    world = make_world("train.epochs=1")
    del world.features["image"]
    assert train(*world.all, isolate=False).modalities == ("audio",)


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split_is_named(make_world, split):
    def empty(rows):
        for row in rows:
            row["split"] = "test" if row["split"] == split else row["split"]

    with pytest.raises(DataError, match=f"no rows in the {split} split"):
        train(*make_world(change=empty).all, isolate=False)


def test_a_loss_that_is_not_finite_is_an_error(make_world):
    world = make_world("train.learning_rate=1e30", "train.warmup_share=0", "train.clip_norm=1e30")
    with pytest.raises(DataError, match=r"loss is (nan|inf)"):
        train(*world.all, isolate=False)


def test_weights_change_the_result(make_world):
    def favour(rows):
        rows[1]["weight"] = 5.0

    plain, weighted = make_world("train.epochs=1"), make_world("train.epochs=1", change=favour)
    assert train(*plain.all, isolate=False).model_sha256 != train(*weighted.all, isolate=False).model_sha256


def test_weights_of_nothing_are_an_error(make_world):
    def forget(rows):
        for row in rows:
            row["weight"] = 0.0

    with pytest.raises(DataError, match="weights of the train rows sum to 0"):
        train(*make_world(change=forget).all, isolate=False)


def _set(position, column, value):
    return lambda rows: rows[position].__setitem__(column, value)


@pytest.mark.parametrize("change", [_set(22, "label", "a"), _set(22, "image", "0" * 64), lambda rows: rows.reverse()])
def test_the_key_ignores_test_rows_and_order(make_world, change):
    assert train_key(*make_world(change=change).all) == train_key(*make_world().all)


@pytest.mark.parametrize(
    "change", [_set(1, "label", "c"), _set(17, "label", "a"), _set(1, "weight", 2.0), _set(1, "audio", None)]
)
def test_the_key_reacts_to_what_training_sees(make_world, change):
    assert train_key(*make_world(change=change).all) != train_key(*make_world().all)


@pytest.mark.parametrize(
    ("override", "reacts"), [("train.epochs=4", True), ("seed=5", True), ("gate.margin=0.5", False)]
)
def test_the_key_reacts_to_the_config_that_training_reads(make_world, override, reacts):
    assert (train_key(*make_world(override).all) != train_key(*make_world().all)) is reacts


def test_the_key_reacts_to_the_features_fingerprint(make_world):
    world = make_world()
    before = train_key(*world.all)
    world.features["audio"] = world.features["audio"].model_copy(update={"fingerprint": "0" * 64})
    assert train_key(*world.all) != before
