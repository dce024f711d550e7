"""Runs that end in the middle and go on: the same bytes as without a break."""

import hashlib
import json
import shutil

import pytest
import torch

from data_contracts.training_history import Epoch, OutOfMemory
from tasks.train import checkpointing, trainer
from tasks.train.request import TrainJob
from tasks.train.stage import run_training
from tasks.train.state import FIXED, STATE, Progress, TrainState, read_fixed, read_state, save_state

WHOLE = ("train.batch_size=4", "train.ema_decay=0.5")  # four steps an epoch


class Killed(BaseException):
    """What no code catches."""


def _run(world, work, monkeypatch=None, die_before=None):
    """Trains in `work`; dies before the optimizer's step of this number, counted from 1."""
    work.mkdir(exist_ok=True)
    job = TrainJob(valid=world.valid, features=world.features, config=world.config, store=str(world.store.root))
    if die_before is None:
        run_training(job, work)
        return hashlib.sha256((work / "model.safetensors").read_bytes()).hexdigest()
    steps = []

    def mortal(update):
        def dying(self, *what):
            steps.append(1)
            if len(steps) == die_before:
                raise Killed
            return update(self, *what)

        return dying

    with monkeypatch.context() as patched:
        patched.setattr(trainer.TrainingStep, "update", mortal(trainer.TrainingStep.update))
        with pytest.raises(Killed):
            run_training(job, work)
    return None


def _without_times(work):
    history = json.loads((work / "history.json").read_text())
    for entry in history["epochs"]:
        del entry["seconds"]
    return history["epochs"], history["figures"]["samples"]


@pytest.mark.parametrize(
    ("settings", "die_before", "found"),
    [
        (("train.checkpoint_steps=1",), 6, (1, 1)),
        (("train.checkpoint_steps=3",), 8, (1, 2)),  # the sixth step was the last that was kept
        (("train.checkpoint_steps=1", "train.gradient_accumulation_steps=2", "train.ema_decay=0"), 4, (1, 1)),
        (("train.checkpoint_steps=2", "train.mixup=0.4", "train.augment=false"), 8, (1, 2)),
    ],
)
def test_killed_within_an_epoch_it_goes_on_to_the_same_bytes(
    make_world, tmp_path, monkeypatch, settings, die_before, found
):
    world = make_world(*WHOLE, *settings)
    expected = _run(world, tmp_path / "through")
    _run(world, tmp_path / "killed", monkeypatch, die_before)
    state = read_state(tmp_path / "killed")
    assert (state.progress.epoch, state.progress.step) == found
    assert len(state.progress.losses) == found[1]
    torch.rand(5)  # no generator of the process is part of the result
    assert _run(world, tmp_path / "killed") == expected
    assert _without_times(tmp_path / "killed") == _without_times(tmp_path / "through")
    assert _without_times(tmp_path / "killed")[1] == 3 * 16


@pytest.mark.parametrize("regime", ["full", "last-n", "lora"])
def test_a_pretrained_encoder_goes_on_in_either_stage(make_world, shufflenet, tmp_path, monkeypatch, regime):
    world = make_world(
        *WHOLE,
        *shufflenet,
        "train.checkpoint_steps=2",
        f"train.regime={regime}",
        "train.head_epochs=1",
        "train.epochs=2",
    )
    expected = _run(world, tmp_path / "through")
    for die_before in (4, 10):
        killed = tmp_path / f"killed before {die_before}"
        _run(world, killed, monkeypatch, die_before)
        fixed, state = read_fixed(killed), read_state(killed)
        assert bool(fixed) is (regime != "full")
        assert not fixed.keys() & state.model.keys()
        assert _run(world, killed) == expected
        assert _without_times(killed) == _without_times(tmp_path / "through")


def test_a_head_on_embeddings_goes_on_to_the_same_bytes(make_world, shufflenet, tmp_path, monkeypatch):
    clips = shufflenet[0].replace("image", "video", 1)
    world = make_world(*WHOLE, *shufflenet, clips, "train.checkpoint_steps=1", width=1024)
    expected = _run(world, tmp_path / "through")
    _run(world, tmp_path / "killed", monkeypatch, 4)
    assert read_state(tmp_path / "killed").progress.step == 3
    assert _run(world, tmp_path / "killed") == expected
    assert _without_times(tmp_path / "killed") == _without_times(tmp_path / "through")


def test_how_often_the_state_is_kept_changes_nothing(make_world, tmp_path):
    often = make_world(*WHOLE, "train.checkpoint_steps=1")
    assert _run(often, tmp_path / "often") == _run(make_world(*WHOLE), tmp_path / "seldom")


def test_without_a_number_of_steps_the_clock_decides(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpointing.time, "monotonic", lambda: now[0])
    checkpoint_schedule = checkpointing.CheckpointSchedule(tmp_path, None, False, True)
    state = TrainState({}, {}, {}, {}, Progress())

    def gather():
        now[0] += 5.0  # as long as this takes
        return state

    now[0] = 59.0
    assert not checkpoint_schedule.due_within(10)
    assert checkpoint_schedule.due_after_epoch()  # nothing has been written yet: what it costs is not known
    now[0] = 61.0
    assert checkpoint_schedule.due_within(11)
    checkpoint_schedule.keep(gather)
    now[0] += 49.0
    assert not checkpoint_schedule.due_after_epoch()  # it would be more than a tenth
    now[0] += 2.0
    assert checkpoint_schedule.due_after_epoch()
    assert not checkpoint_schedule.due_within(12)
    now[0] += 50.0
    assert checkpoint_schedule.due_within(13)  # 101 s after a write of 5 s


def test_a_state_comes_back_as_it_was(tmp_path):
    weights = {"a": torch.rand(2, 3), "b": torch.tensor(7)}
    epoch = Epoch(epoch=1, train_loss=0.5, val_loss=0.25)
    progress = Progress(
        2, 5, 1, 2, 1, 2, 0.125, [0.1, 0.2], [1.5, 2.5], 3.25, [epoch], OutOfMemory(epoch=1, step=3), {"flops": 2.0}
    )
    moments = {"a": {"step": torch.tensor(5.0), "exp_avg": torch.rand(2, 3)}}
    save_state(TrainState(weights, moments, {}, weights, progress), tmp_path)
    found = read_state(tmp_path)
    assert found.progress == progress
    assert found.progress.history[0].model_fields_set == epoch.model_fields_set
    assert found.ema_weights == {}
    for kept, saved in [(found.model, weights), (found.best, weights), (found.optimizer["a"], moments["a"])]:
        assert kept.keys() == saved.keys()
        assert all(torch.equal(kept[name], saved[name]) for name in saved)


@pytest.fixture(scope="module")
def killed_early(make_lasting_world, tmp_path_factory):
    """A world, the digest that a run of it ends with, and what one that died before its third step left."""
    world, folder = make_lasting_world(*WHOLE, "train.checkpoint_steps=1"), tmp_path_factory.mktemp("killed")
    expected = _run(world, folder / "through")
    _run(world, folder / "killed", pytest.MonkeyPatch, 3)
    return world, expected, folder / "killed"


@pytest.mark.parametrize("damage", ["cut", "garbage", "no fixed weights"])
def test_what_cannot_be_read_is_not_gone_on_from(killed_early, tmp_path, damage):
    world, expected, left = killed_early
    work = shutil.copytree(left, tmp_path / "killed")
    assert read_fixed(work) == {}  # encoders from scratch move in all their parts
    if damage == "no fixed weights":
        (work / FIXED).write_bytes(b"nothing")
    else:
        content = (work / STATE).read_bytes()
        (work / STATE).write_bytes(content[:-10] if damage == "cut" else b"\x08garbage")
        assert read_state(work) is None
    assert _run(world, work) == expected
