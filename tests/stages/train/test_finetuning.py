"""Every regime through the loop: from a file of weights to a checkpoint that its card alone rebuilds."""

import json

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from tasks.modeling.package import load_model
from tasks.train.train import train

NETWORK = "squeezenet1_1"


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
        "train.average_decay=0.5",
        *others,
    )


@pytest.mark.parametrize("regime", ["lora", "last-n", "full"])
def test_a_regime_trains_what_it_says_from_the_given_weights(make_world, weights, regime):
    world = make_world(*settings(weights, regime))
    ref = train(*world.all, isolate=False)
    history = json.loads((world.store.path(ref.uri) / "history.json").read_text())["epochs"]
    assert [entry["stage"] for entry in history] == ["head", regime, regime]
    given = load_file(weights)
    start = "encoders.image.network."
    state = load_model(world.store.path(ref.uri)).state_dict()  # strict: no name of an update is left
    trained = {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
    moved = {name for name, tensor in trained.items() if not torch.equal(tensor, given[name])}
    if regime == "full":
        assert moved == set(trained)
    elif regime == "last-n":
        assert moved
        assert all(name.startswith(("features.11", "features.12")) for name in moved)
    else:
        assert moved
        assert not any(trained[name].shape[-1] == 3 for name in moved)  # 1x1 convolutions only
        assert all("bias" not in name for name in moved)


@pytest.mark.parametrize("regime", ["lora", "full"])
def test_the_same_seed_gives_the_same_bytes(make_world, weights, regime):
    one, same = (
        train(
            *make_world(
                *settings(weights, regime, "train.mixup=0.2", "train.crop=0.5", "train.trivial_augment=true")
            ).all,
            isolate=False,
        )
        for _ in range(2)
    )
    assert one.model_sha256 == same.model_sha256


def test_the_weights_and_the_regimes_knobs_are_part_of_the_result(make_world, weights):
    hashes = set()
    for other in ((), ("train.layer_decay=0.5",), ("train.encoder_weight_decay=0.5",), ("train.cutmix=1",)):
        hashes.add(train(*make_world(*settings(weights, "full", *other)).all, isolate=False).model_sha256)
    assert len(hashes) == 4
