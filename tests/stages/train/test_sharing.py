"""Training an encoder that two inputs share: killed and gone on, by every regime, by two processes, from a champion."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file

from data_contracts.training_history import WarmStartRecord
from tasks.config import load_config
from tasks.modeling.package import build_model, describe_model, load_model
from tasks.train import trainer
from tasks.train.finetuning import parameter_groups, tuned_encoders
from tasks.train.lora import add_lora
from tasks.train.request import TrainJob, TrainRequest
from tasks.train.stage import run_training
from tasks.train.train import base_key, train
from tasks.train.warm_start import WarmStart, transfer_weights
from tests.support.data import TINY

SHARE = 'encoders.shared=["image"]'
TUNED = ("train.head_epochs=1", "train.epochs=2", "train.encoder_learning_rate=0.001", "train.ema_decay=0.5")


class Killed(BaseException):
    """What no code catches."""


def _two(make_world, *settings):
    return make_world(*settings, other="image_2")


def _run(world, work):
    work.mkdir(exist_ok=True)
    job = TrainJob(valid=world.valid, features=world.features, config=world.config, store=str(world.store.root))
    run_training(job, work)
    return hashlib.sha256((work / "model.safetensors").read_bytes()).hexdigest()


def test_killed_it_goes_on_to_the_same_bytes(make_world, tmp_path, monkeypatch):
    world = _two(make_world, SHARE, "train.batch_size=4", "train.ema_decay=0.5", "train.checkpoint_steps=1")
    expected = _run(world, tmp_path / "through")
    steps, update = [], trainer.TrainingStep.update

    def dying(self, *what):
        steps.append(1)
        if len(steps) == 6:
            raise Killed
        return update(self, *what)

    with monkeypatch.context() as patched:
        patched.setattr(trainer.TrainingStep, "update", dying)
        with pytest.raises(Killed):
            _run(world, tmp_path / "killed")
    assert _run(world, tmp_path / "killed") == expected
    assert not any(name.startswith("encoders.image_2") for name in load_file(tmp_path / "killed/model.safetensors"))


@pytest.mark.parametrize("regime", ["lora", "last-n", "full"])
def test_a_pretrained_encoder_is_loaded_trained_and_kept_once(make_world, shufflenet, regime):
    world = _two(make_world, SHARE, *shufflenet, *TUNED, f"train.regime={regime}", "train.gradient_checkpointing=true")
    ref = train(*world.all, isolate=False)
    folder = world.store.path(ref.uri)
    weights, pretrained = load_file(folder / "model.safetensors"), load_file(shufflenet[0].split("@")[1])
    start = "encoders.image.network."
    assert {name.split(".")[1] for name in weights if name.startswith("encoders.")} == {"image"}
    kept = {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
    assert any(not torch.equal(tensor, pretrained[name]) for name, tensor in kept.items())
    assert load_model(folder).owners == {"image": "image", "image_2": "image"}
    history = json.loads((folder / "history.json").read_text())
    assert [entry["stage"] for entry in history["epochs"]] == ["head", regime, regime]


@pytest.mark.parametrize("regime", ["lora", "full"])
def test_its_parameters_are_in_the_groups_once(make_world, shufflenet, regime):
    shared, apart = (_two(make_world, *shufflenet, *more, f"train.regime={regime}") for more in ((SHARE,), ()))
    counts = []
    for world in (shared, apart):
        model = build_model(describe_model(world.valid, world.features, world.config))
        if regime == "lora":
            add_lora(model, world.config.train)
        groups = parameter_groups(model, world.config.train)
        parameters = [parameter for group in groups for parameter in group["params"]]
        assert len(set(parameters)) == len(parameters)
        own = {parameter for encoder in tuned_encoders(model).values() for parameter in encoder.parameters()}
        counts.append((len(tuned_encoders(model)), len(own & set(parameters))))
    (one, trained), (two, twice) = counts
    assert (one, two) == (1, 2)
    assert 0 < trained == twice // 2


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_also_where_they_divide_it(make_world, shufflenet):
    exact = (SHARE, *shufflenet, *TUNED, "train.regime=full", "train.augment=false", "fusion.dropout=0")
    found = []
    for more in ((), ("train.devices=2",), ("train.devices=2", "train.strategy=fsdp")):
        world = _two(make_world, *exact, *more)
        ref = train(*world.all, isolate=bool(more))
        found.append(json.loads((world.store.path(ref.uri) / "history.json").read_text())["epochs"])
    for first, *others in zip(*found, strict=True):
        for name in ("train_loss", "val_loss", "grad_norm"):
            assert [other[name] for other in others] == pytest.approx([first[name]] * 2, rel=1e-4, abs=1e-4), name


def test_a_champion_with_encoders_of_their_own_gives_its_first(make_world):
    apart, shared = _two(make_world), _two(make_world, SHARE)
    theirs = apart.store.path(train(*apart.all, isolate=False).uri)
    weights = load_file(theirs / "model.safetensors")
    card = describe_model(shared.valid, shared.features, shared.config)
    model = build_model(card)
    taken = transfer_weights(model, card, WarmStart(None, WarmStartRecord(), theirs))
    assert not taken.fresh
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert "encoders.image.stem.0.weight" in taken.whole


def test_the_key_knows_of_sharing_and_only_where_it_is_asked_for(make_world, monkeypatch):
    world = _two(make_world)
    seen = []
    monkeypatch.setattr("tasks.train.train.digest_json", lambda value: seen.append(value) or str(value))
    keys = {
        base_key(
            TrainRequest(valid=world.valid, features=world.features, config=load_config({}, [*TINY, *settings])),
            world.store,
        )
        for settings in ((), (SHARE,), ('encoders.shared=["image","text"]',))
    }
    assert len(keys) == 3
    assert [value.get("shared") for value in seen] == [None, ["image"], ["image", "text"]]
