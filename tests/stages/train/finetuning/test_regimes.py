"""Which parameters move under each regime, at which rate, and that the rest stays as it was."""

import copy
from collections.abc import Callable

import pytest
import torch

from tasks.config import TrainConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.train.finetuning import Stage, enter_training, freeze, parameter_groups, stages_of
from tasks.train.lora import add_lora

Batches = Callable[..., dict[str, Present]]
SCRATCH = EncoderSpec(encoder="tiny", reads="inputs")
TUNED = EncoderSpec(encoder="stand-in", reads="inputs", width=16, weights_sha256="0" * 64)
FROZEN = EncoderSpec(encoder="hf:x", reads="embedding", width=4, weights_sha256="0" * 64)
HEAD, REST = Stage("head", 1, False), Stage("rest", 1, True)


def changed_by(model: FusedClassifier, batch_of: Batches, stage: Stage, config: TrainConfig) -> set[str]:
    """Names in the state dict that three steps of a stage change."""
    freeze(model, stage, config)
    groups = parameter_groups(model, config)
    optimizer = torch.optim.AdamW(groups)
    before = copy.deepcopy(model.state_dict())
    for seed in range(3):
        optimizer.zero_grad()
        model(batch_of(model, seed), 4).logits.square().mean().backward()
        optimizer.step()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_one_stage_without_a_trainable_pretrained_encoder() -> None:
    config = TrainConfig(epochs=7)
    assert stages_of(config, {"image": SCRATCH, "text": FROZEN}) == (Stage("full", 7, True),)
    assert stages_of(config, {"text": FROZEN}) == (Stage("head", 7, True),)


def test_head_first_then_the_encoders() -> None:
    specs = {"image": TUNED, "audio": SCRATCH}
    config = TrainConfig(regime="last-n", epochs=7, head_epochs=2)
    assert stages_of(config, specs) == (Stage("head", 2, False), Stage("last-n", 7, True))
    assert stages_of(TrainConfig(regime="full", epochs=7, head_epochs=0), specs) == (Stage("full", 7, True),)


@pytest.mark.parametrize("kind", ["convolutional", "transformer", "words"])
def test_in_the_head_stage_a_pretrained_encoder_stays_as_it_was_to_the_last_statistic(build, batch_of, kind) -> None:
    model = build(kind)
    changed = changed_by(model, batch_of, HEAD, TrainConfig(regime="full"))
    assert not any(name.startswith(("encoders.image", "encoders.text")) for name in changed)
    assert any(name.startswith("encoders.audio") for name in changed)
    assert any(name.startswith("head") for name in changed)


def test_frozen_parts_drop_nothing_and_the_rest_is_in_training_mode(build, batch_of) -> None:
    model = build("transformer")
    freeze(model, HEAD, TrainConfig(regime="full"))
    part = batch_of(model)["image"]
    encoder = model.encoders["image"]
    assert torch.equal(encoder(part.values, part.lengths), encoder(part.values, part.lengths))
    assert model.training
    assert model.encoders["audio"].training


def test_training_mode_can_be_entered_again_after_an_evaluation(build, batch_of) -> None:
    model = build()
    config = TrainConfig(regime="last-n", last_n=2, norm_statistics="batch")
    freeze(model, REST, config)
    modes = {name: module.training for name, module in model.named_modules()}
    model.eval()
    enter_training(model, config)
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert modes["encoders.image.net.features.18.1"]
    assert not modes["encoders.image.net.features.0.1"]


@pytest.mark.parametrize("statistics", ["pretrained", "batch"])
def test_last_n_moves_the_last_blocks_only_and_their_statistics_when_asked(build, batch_of, statistics) -> None:
    config = TrainConfig(regime="last-n", last_n=2, norm_statistics=statistics)
    changed = changed_by(build(), batch_of, REST, config)
    blocks = {name.split(".")[4] for name in changed if name.startswith("encoders.image")}
    assert blocks == {"17", "18"}
    assert "encoders.image.net.features.18.1.weight" in changed
    assert ("encoders.image.net.features.18.1.running_mean" in changed) is (statistics == "batch")
    assert any(name.startswith("encoders.audio") and "running_mean" in name for name in changed)


def test_last_n_trains_the_final_norm_and_not_the_embeddings(build, batch_of) -> None:
    changed = changed_by(build("transformer"), batch_of, REST, TrainConfig(regime="last-n", last_n=1))
    inside = {name.removeprefix("encoders.image.net.") for name in changed if name.startswith("encoders.image")}
    assert {"encoder.ln.weight", "encoder.ln.bias"} < inside
    assert all(name.startswith(("encoder.ln", "encoder.layers.encoder_layer_2")) for name in inside)


@pytest.mark.parametrize("kind", ["convolutional", "transformer", "words"])
def test_full_moves_everything(build, batch_of, kind) -> None:
    model = build(kind)
    changed = changed_by(model, batch_of, REST, TrainConfig(regime="full"))
    still = {name for name, _ in model.named_parameters()} - changed
    assert not {name for name in still if not name.startswith(("auxiliary", "missing"))}


def test_lora_moves_only_its_own_and_no_statistic(build, batch_of) -> None:
    model, config = build(), TrainConfig(regime="lora")
    add_lora(model, config)
    changed = changed_by(model, batch_of, REST, config)
    inside = {name for name in changed if name.startswith("encoders.image")}
    assert inside
    assert all(".lora_" in name for name in inside)


def test_an_encoder_from_scratch_is_trained_in_every_stage(build, batch_of) -> None:
    spec = EncoderSpec(encoder="torchvision:mobilenet_v2@random", reads="inputs")
    model = build(spec=spec)
    config = TrainConfig(regime="last-n")
    changed = changed_by(model, batch_of, HEAD, config)
    assert "encoders.image.net.features.0.0.weight" in changed
    assert {group["initial_lr"] for group in parameter_groups(model, config)} == {config.learning_rate}


def test_two_rates_and_two_decays_with_none_for_a_single_axis(build, batch_of) -> None:
    model = build()
    config = TrainConfig(
        regime="full", learning_rate=1.0, encoder_learning_rate=0.1, weight_decay=0.5, encoder_weight_decay=0.25
    )
    groups = parameter_groups(model, config)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert sum(len(group["params"]) for group in groups) == len(names)
    for group in groups:
        for parameter in group["params"]:
            tuned = names[parameter].startswith("encoders.image")
            assert group["initial_lr"] == group["lr"] == (0.1 if tuned else 1.0)
            assert group["weight_decay"] == (0.0 if parameter.ndim <= 1 else 0.25 if tuned else 0.5)


def test_rates_fall_from_the_output_to_the_input(build, batch_of) -> None:
    model = build("transformer")
    config = TrainConfig(regime="full", encoder_learning_rate=1.0, layer_decay=0.5)
    rates = {}
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group in parameter_groups(model, config):
        rates |= {names[parameter]: group["initial_lr"] for parameter in group["params"]}
    start = "encoders.image.net."
    assert rates[f"{start}encoder.ln.weight"] == 1.0
    assert rates[f"{start}encoder.layers.encoder_layer_2.mlp.0.weight"] == 1.0
    assert rates[f"{start}encoder.layers.encoder_layer_0.mlp.0.weight"] == 0.25
    assert rates[f"{start}conv_proj.weight"] == rates[f"{start}class_token"] == 0.125


def test_what_no_stage_trains_is_in_no_group(build, batch_of) -> None:
    model = build()
    config = TrainConfig(regime="last-n", last_n=1)
    names = {parameter: name for name, parameter in model.named_parameters()}
    grouped = {names[parameter] for group in parameter_groups(model, config) for parameter in group["params"]}
    blocks = {name.split(".")[4] for name in grouped if name.startswith("encoders.image")}
    assert blocks == {"18"}
    freeze(model, HEAD, config)  # groups do not depend on the stage
    assert sum(len(group["params"]) for group in parameter_groups(model, config)) == len(grouped)


def test_a_layer_scale_does_not_decay(build, batch_of) -> None:
    model = build()
    model.encoders["image"].net.scale = torch.nn.Parameter(torch.ones(4, 1, 1))
    groups = parameter_groups(model, TrainConfig(regime="full"))
    scale = model.encoders["image"].net.scale
    assert [g["weight_decay"] for g in groups if any(p is scale for p in g["params"])] == [0.0]
