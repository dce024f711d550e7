import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tasks import progress
from tasks.errors import DataError
from tasks.modeling import encoders
from tasks.modeling.package import load_model
from tasks.store import digest_file
from tasks.train import trainer
from tasks.train.train import train, train_key

ONE_BATCH = (
    "train.batch_size=16",
    "train.learning_rate=0.01",
    "train.weight_decay=0",
    "train.label_smoothing=0",
    "train.augment=false",
    "train.ema_decay=0",
    "fusion.dropout=0",
    "fusion.modality_dropout=0",
)


def _history(world, ref):
    return json.loads((world.store.path(ref.uri) / "history.json").read_text())["epochs"]


def _weights(world, ref):
    return load_file(world.store.path(ref.uri) / "model.safetensors")


def test_a_checkpoint_is_made_once_and_then_found(make_world):
    world = make_world()
    reported = []
    with progress.listening(lambda *what: reported.append(what)):
        ref = train(*world.all, isolate=False)
        assert train(*world.all, isolate=False) == ref
    assert [what[:3] for what in reported] == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3)]
    assert reported[0][3].startswith("val loss ")
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
    ref = train(*other.all, isolate=False)
    assert [entry["learning_rate"] for entry in _history(other, ref)] == [
        entry["learning_rate"] for entry in _history(one, first)
    ]
    drawn, redrawn = _weights(one, first), _weights(other, ref)
    assert {name: tensor.shape for name, tensor in drawn.items()} == {n: t.shape for n, t in redrawn.items()}
    # What is drawn at random is drawn anew in every layer; how many steps there are is no matter of chance.
    same_values = {name for name, tensor in drawn.items() if torch.equal(tensor, redrawn[name])}
    assert same_values == {name for name in drawn if name.endswith("num_batches_tracked")}


def test_the_callers_random_numbers_and_settings_stay_as_they_were(make_world):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    train(*make_world("train.epochs=1").all, isolate=False)
    assert torch.equal(torch.rand(2), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "kind",
    [
        "concat",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("gated", "attention", "bilinear", "late")),
    ],
)
def test_one_batch_is_learned_by_heart(make_world, monkeypatch, kind):
    """Labels that have nothing to do with their rows: the encoders, the fusion and every modality's own head recall them."""

    def shuffle(rows):
        labels = np.random.default_rng(0).permutation(list("abcd" * 3))
        for row, same, label in zip(rows[:12], rows[12:], labels, strict=True):
            row |= {"label": "abc"["abcd".index(label) % 3], "split": "train"}
            same.update({key: value for key, value in row.items() if key != "id"}, split="val")

    monkeypatch.setattr(encoders, "DROPOUT", 0.0)
    widths = ("fusion.embed_dim=32", "fusion.hidden=32", "train.epochs=40", "train.early_stopping_patience=40")
    world = make_world(*ONE_BATCH, f"fusion.kind={kind}", *widths, change=shuffle)
    history = _history(world, train(*world.all, isolate=False))
    assert history[0]["train_loss"] > 1
    assert history[-1]["train_loss"] < 0.01
    assert history[-1]["val_loss"] < 0.01  # of the very rows that were learned
    assert history[-1]["val_accuracy"] == 1.0


def test_the_average_is_judged_and_kept(make_world, monkeypatch):
    evaluated, averages, currents = [], [], []
    real = trainer.validate

    def validate(model, *what):
        evaluated.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return real(model, *what)

    class Watched(trainer.TrainingStep):
        """Copies the weights and their average after every step."""

        def update(self):
            norm = super().update()
            for copies, tensors in ((averages, self.ema_weights), (currents, self.current)):
                copies.append({name: tensor.detach().clone() for name, tensor in tensors.items()})
            return norm

    monkeypatch.setattr(trainer, "validate", validate)
    monkeypatch.setattr(trainer, "TrainingStep", Watched)
    world = make_world("train.ema_decay=0.9")
    ref = train(*world.all, isolate=False)
    assert len(evaluated) == 3
    assert len(averages) == 6  # two steps an epoch
    for epoch, weights in enumerate(evaluated):
        average, current = averages[2 * epoch + 1], currents[2 * epoch + 1]
        assert all(torch.equal(weights[name], tensor) for name, tensor in average.items())
        assert any(not torch.equal(weights[name], tensor) for name, tensor in current.items())
    kept = _weights(world, ref)
    assert all(torch.equal(tensor, evaluated[ref.best_epoch - 1][name]) for name, tensor in kept.items())


def test_patience_ends_it_and_the_best_epoch_is_kept(make_world):
    world = make_world(
        "train.epochs=30", "train.early_stopping_patience=1", "train.learning_rate=0.3", "train.ema_decay=0"
    )
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
    world = make_world("train.learning_rate=1e30", "train.warmup_ratio=0", "train.max_grad_norm=1e30")
    with pytest.raises(DataError, match=r"loss is (nan|inf)"):
        train(*world.all, isolate=False)


def _weigh(weights, label=None):
    """Gives the first rows these weights, and the very first one another label."""

    def change(rows):
        for row, weight in zip(rows, weights, strict=False):
            row["weight"] = weight
        rows[0]["label"] = label or rows[0]["label"]

    return change


def test_only_the_proportions_of_weights_matter(make_world):
    plain, doubled = (make_world(change=_weigh(weights)) for weights in ([1.0] * 16, [2.0] * 16))
    assert train(*plain.all, isolate=False).model_sha256 == train(*doubled.all, isolate=False).model_sha256


def test_a_step_goes_where_the_weights_are(make_world):
    """The first step of AdamW moves each bias by the whole rate, towards the label of the row that all weight is on."""
    biases = []
    for favoured in (0, 1):  # of labels a and b
        weights = [1000.0 if row == favoured else 1.0 for row in range(16)]
        world = make_world(*ONE_BATCH, "train.epochs=1", change=_weigh(weights))
        biases.append(_weights(world, train(*world.all, isolate=False))["head.bias"])
    assert (biases[0] - biases[1]).tolist() == pytest.approx([0.02, -0.02, 0.0], abs=1e-4)


def test_a_row_of_no_weight_has_no_say(make_world):
    """Whatever its label, the model is the same; with a weight it is another."""
    shas = {
        (weight, label): train(*make_world(change=_weigh([weight], label)).all, isolate=False).model_sha256
        for weight in (0.0, 1.0)
        for label in "ab"
    }
    assert shas[0.0, "a"] == shas[0.0, "b"]
    assert len(set(shas.values())) == 3


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
