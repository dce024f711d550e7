"""Fine-tuning in the whole loop: the head first, then what the regime names, from the weights on disk."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tasks.modeling.package import load_model
from tasks.train import trainer
from tasks.train.optim import rate_factor
from tasks.train.train import train

SETTINGS = ("train.head_epochs=2", "train.epochs=2", "train.augment=false", "train.ema_decay=0")


def _train(world):
    ref = train(*world.all, isolate=False)
    folder = world.store.path(ref.uri)
    return load_model(folder), json.loads((folder / "history.json").read_text())


def _pretrained(settings):
    weights = load_file(settings[0].partition("@")[2])
    return {name: tensor for name, tensor in weights.items() if not name.startswith("fc.")}


def _changed(model, settings):
    now = {
        name.removeprefix("encoders.image.network."): tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("encoders.image.network.")
    }
    before = _pretrained(settings)
    assert now.keys() == before.keys()
    return {name for name in before if not torch.equal(now[name], before[name])}


@pytest.mark.parametrize("regime", ["full", "last-n", "lora"])
def test_the_head_is_trained_first_and_then_the_encoder(make_world, shufflenet, regime, monkeypatch):
    losses = iter([4.0, 3.0, 2.0, 1.0])
    monkeypatch.setattr(trainer, "validate", lambda *what: (next(losses), {"val_accuracy": 0.5}))
    model, history = _train(make_world(*SETTINGS, *shufflenet, f"train.regime={regime}"))
    assert [entry["stage"] for entry in history["epochs"]] == ["head", "head", regime, regime]
    assert [entry["epoch"] for entry in history["epochs"]] == [1, 2, 3, 4]
    changed, before = _changed(model, shufflenet), _pretrained(shufflenet)
    assert history["best_epoch"] == 4
    statistics = {name for name in before if "running" in name or name.endswith("num_batches_tracked")}
    assert (
        changed
        == {
            "full": set(before) - statistics,
            "last-n": {name for name in set(before) - statistics if name.startswith(("stage4.3.", "conv5."))},
            "lora": {name for name, tensor in before.items() if tensor.shape[2:] == (1, 1)},
        }[regime]
    )


def test_in_the_heads_stage_the_encoder_stays_as_it_came(make_world, shufflenet, monkeypatch):
    losses = iter([3.0, 2.0, 1.0, 9.0])
    monkeypatch.setattr(
        trainer, "validate", lambda *what: (next(losses), {"val_accuracy": 0.5})
    )  # the last epoch is not kept
    settings = ("train.regime=full", "train.head_epochs=3", "train.epochs=1")
    model, history = _train(make_world(*SETTINGS, *shufflenet, *settings))
    assert history["best_epoch"] == 3
    assert not _changed(model, shufflenet)
    losses = iter([3.0, 2.0, 1.0, 0.5])
    model, history = _train(make_world(*SETTINGS, *shufflenet, *settings, "seed=1"))
    assert history["best_epoch"] == 4
    assert len(_changed(model, shufflenet)) > 100


def test_patience_ends_a_stage_and_the_next_begins_with_the_best(make_world, shufflenet, monkeypatch):
    losses, evaluated, begun = iter([3.0, 1.0, 2.0, 4.0]), [], []

    def validate(model, *what):
        evaluated.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return next(losses), {"val_accuracy": 0.5}

    class Watched(trainer.TrainingStep):
        """Copies the weights that a stage begins with."""

        def __init__(self, plain, *what):
            begun.append({name: tensor.clone() for name, tensor in plain.state_dict().items()})
            super().__init__(plain, *what)

    monkeypatch.setattr(trainer, "validate", validate)
    monkeypatch.setattr(trainer, "TrainingStep", Watched)
    settings = ("train.head_epochs=20", "train.epochs=1", "train.early_stopping_patience=1", "train.ema_decay=0.5")
    _, history = _train(make_world(*SETTINGS, *shufflenet, "train.regime=full", *settings))
    assert [entry["stage"] for entry in history["epochs"]] == ["head", "head", "head", "full"]
    assert all(torch.equal(tensor, evaluated[1][name]) for name, tensor in begun[1].items())
    assert any(not torch.equal(tensor, evaluated[2][name]) for name, tensor in begun[1].items())
    assert history["best_epoch"] == 2


def test_every_stage_has_a_schedule_of_its_own(make_world, shufflenet):
    rates = ("train.warmup_ratio=0.25", "train.learning_rate=0.01", "train.encoder_learning_rate=0.01")
    _, history = _train(make_world(*SETTINGS, *shufflenet, *rates, "train.regime=last-n", "train.batch_size=4"))
    # Four steps an epoch, two epochs a stage; the rate of an epoch is that of its last step.
    expected = [0.01 * rate_factor(step, 8, 0.25) for step in (3, 7)] * 2
    assert [entry["learning_rate"] for entry in history["epochs"]] == pytest.approx(expected)


@pytest.mark.parametrize("regime", ["full", "lora"])
def test_same_seed_same_hash(make_world, shufflenet, regime):
    refs = [train(*make_world(*SETTINGS, *shufflenet, f"train.regime={regime}").all, isolate=False) for _ in range(2)]
    assert refs[0].model_sha256 == refs[1].model_sha256
