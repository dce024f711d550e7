"""Every regime through the loop: from a file of weights to a checkpoint that its card alone rebuilds."""

import json

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from tasks.modeling.package import load_model
from tasks.train import trainer
from tasks.train.train import train

NETWORK = "squeezenet1_1"
INSIDE = "encoders.image.network."


@pytest.fixture
def weights(tmp_path):
    """A file as torchvision's state dict would be, of random numbers."""
    torch.manual_seed(7)
    path = tmp_path / "weights.safetensors"
    save_file(torchvision.models.get_model(NETWORK, weights=None).state_dict(), path)
    return path


def settings(weights, regime, *others):
    return (
        f"encoders.image=torchvision:{NETWORK}@{weights}",
        "encoders.image_px=32",
        f"train.regime={regime}",
        "train.head_epochs=1",
        "train.epochs=2",
        "train.learning_rate=0.01",
        "train.encoder_learning_rate=0.001",
        "train.ema_decay=0.5",
        *others,
    )


def train_from(world, monkeypatch):
    """History, the tensors before training (the encoder's as they came from the file), and those that were kept."""
    built = {}
    real = trainer.build_model

    def build(card):
        model = real(card)
        built.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return model

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "build_model", build)
        folder = world.store.path(train(*world.all, isolate=False).uri)
    pretrained = load_file(world.config.encoders.image.partition("@")[2])
    before = {name: pretrained.get(name.removeprefix(INSIDE), tensor) for name, tensor in built.items()}
    after = load_model(folder).state_dict()  # strict: no name of an update is left
    assert before.keys() == after.keys()
    return json.loads((folder / "history.json").read_text())["epochs"], before, after


@pytest.mark.parametrize("regime", ["lora", "last-n", "full"])
def test_a_regime_moves_what_it_says_and_nothing_else(make_world, weights, regime, monkeypatch):
    history, before, after = train_from(make_world(*settings(weights, regime)), monkeypatch)
    assert [entry["stage"] for entry in history] == ["head", regime, regime]
    encoder = {name for name in before if name.startswith(INSIDE)}
    moves = {
        "full": encoder,
        "last-n": {name for name in encoder if name.split(".")[4] in ("11", "12")},
        "lora": {name for name in encoder if name.endswith(".weight") and before[name].shape[2:] == (1, 1)},
    }
    assert 0 < len(moves["last-n"]) < len(moves["lora"]) < len(encoder)
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved & encoder == moves[regime]
    assert moved - encoder == set(before) - encoder  # all that is new is trained in every regime


@pytest.mark.parametrize("regime", ["lora", "full"])
def test_the_same_seed_gives_the_same_bytes(make_world, weights, regime):
    one, same = (
        train(
            *make_world(
                *settings(weights, regime, "train.mixup=0.2", "train.min_crop_scale=0.5", "train.trivial_augment=true")
            ).all,
            isolate=False,
        )
        for _ in range(2)
    )
    assert one.model_sha256 == same.model_sha256


def test_the_hyperparameters_of_the_encoder_move_only_it_and_as_they_say(make_world, weights, monkeypatch):
    runs = {
        override: train_from(make_world(*settings(weights, "full", override)), monkeypatch)
        for override in ("train.layer_decay=1", "train.layer_decay=0.01", "train.encoder_weight_decay=0.5")
    }
    (plain, before, moved), (slow, _, lagging), (decaying, _, decayed) = runs.values()
    assert plain[0]["val_loss"] == slow[0]["val_loss"] == decaying[0]["val_loss"]  # the head's stage
    first, last = f"{INSIDE}features.0.weight", f"{INSIDE}features.12.expand1x1.weight"
    for name, stands in ((first, True), (last, False)):
        assert (moved[name] - before[name]).abs().max() > 1e-4
        assert torch.allclose(lagging[name], before[name], rtol=0, atol=1e-7) is stands
    for name, tensor in moved.items():
        if name.startswith(INSIDE) and name.endswith(".weight"):
            assert decayed[name].norm() < tensor.norm(), name
