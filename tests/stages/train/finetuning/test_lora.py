"""Low-rank updates: nothing at first, the same model once merged, under the names of a plain one."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tasks.config import FusionConfig, TrainConfig
from tasks.errors import DataError
from tasks.modeling.encoder_base import Encoder
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.train.finetuning import Stage, freeze, parameter_groups
from tasks.train.lora import add_lora, merge_lora

SCRATCH = EncoderSpec(encoder="tiny", reads="inputs")
CONFIG = TrainConfig(regime="lora", lora_rank=4, encoder_learning_rate=1e-3)
EXPECTED = {
    # a 1x1 convolution of every block, of the last one, and two of each block that expands
    "convolutional": "net.features.2.conv.0.0",
    "transformer": "net.encoder.layers.encoder_layer_0.mlp.0",
    "words": "net.encoder.layer.0.attention.self.query",
}


def train(model: FusedClassifier, batch_of: Callable[..., Any]) -> None:
    freeze(model, Stage("lora", 1, True), CONFIG)
    optimizer = torch.optim.AdamW(parameter_groups(model, CONFIG))
    for seed in range(3):
        optimizer.zero_grad()
        model(batch_of(model, seed), 4).logits.square().mean().backward()
        optimizer.step()
    model.eval()


@pytest.mark.parametrize("kind", [pytest.param("convolutional", marks=pytest.mark.slow), "transformer", "words"])
def test_merged_it_is_the_trained_model_under_plain_names(build, batch_of, kind: str) -> None:
    model = build(kind)
    plain = copy.deepcopy(model).eval()
    batch = batch_of(model, 9)
    add_lora(model, CONFIG)
    with torch.no_grad():
        assert torch.equal(model.eval()(batch, 4).logits, plain(batch, 4).logits)
    train(model, batch_of)
    name = next(iter(set(model.modalities) - {"audio"}))
    assert f"encoders.{name}.{EXPECTED[kind]}.lora_A.default.weight" in model.state_dict()
    part = batch[name]
    with torch.no_grad():
        trained = model.encoders[name](part.values, part.lengths)
        scores = model(batch, 4).logits.softmax(dim=1)
        merge_lora(model)
        merged = model.encoders[name](part.values, part.lengths)
        before = plain.encoders[name](part.values, part.lengths)
        merged_scores = model(batch, 4).logits.softmax(dim=1)
    assert (scores - merged_scores).abs().max() <= 1e-5
    assert (trained - merged).norm() <= 1e-5 * trained.norm()
    assert (before - merged).norm() > 1e-3 * trained.norm()
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(tensor.shape == model.state_dict()[key].shape for key, tensor in plain.state_dict().items())
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(plain.encoders[name](part.values, part.lengths), merged)


@pytest.mark.parametrize("kind", ["convolutional", "transformer", "words"])
def test_every_update_receives_a_gradient(build, batch_of, kind: str) -> None:
    """One without would be a parameter that no step ever moves, and that DDP waits for in vain."""
    model = build(kind)
    add_lora(model, CONFIG)
    freeze(model, Stage("lora", 1, True), CONFIG)
    model(batch_of(model), 4).logits.square().mean().backward()
    updates = {name: p for name, p in model.named_parameters() if ".lora_" in name}
    assert updates
    assert not [name for name, parameter in updates.items() if parameter.grad is None]


def test_the_same_seed_gives_the_same_updates(build, batch_of) -> None:
    updates = []
    for _ in range(2):
        model = build()
        torch.manual_seed(5)
        add_lora(model, CONFIG)
        updates.append({name: t.clone() for name, t in model.state_dict().items() if "lora_A" in name})
    assert updates[0]
    assert all(torch.equal(updates[0][name], updates[1][name]) for name in updates[0])


def test_an_encoder_from_scratch_is_left_alone() -> None:
    model = FusedClassifier({"image": SCRATCH}, 3, FusionConfig(embed_dim=8, hidden=8))
    names = list(model.state_dict())
    add_lora(model, CONFIG)
    assert list(model.state_dict()) == names


def test_an_encoder_without_such_a_layer_is_an_error(build, batch_of) -> None:
    class Plain(Encoder):
        width = 8

        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Conv2d(3, 8, 3)

    model = build(Plain)
    with pytest.raises(DataError, match="no linear layer or 1x1 convolution"):
        add_lora(model, CONFIG)
