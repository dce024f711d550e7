"""The training loop by value: what an epoch's record says, when a state is written, what is in it, how a run ends."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_contracts.training_history import OutOfMemory
from tasks.errors import DataError, EnvironmentFailed
from tasks.train import checkpointing, stage, trainer
from tasks.train.optim import rate_factor
from tasks.train.request import TrainJob
from tasks.train.throughput import ThroughputMeter

FOUR_STEPS = ("train.batch_size=4", "train.epochs=2")  # 16 rows
TOO_LARGE = (
    "training: the GPU's memory does not suffice for train.batch_size = 8; lower it and raise "
    "train.gradient_accumulation_steps by as much, or set train.gradient_checkpointing"
)


@pytest.fixture
def run(make_world, monkeypatch, tmp_path):
    """run(settings) trains in a folder of its own and returns what was seen of it."""

    def make(*settings, losses=None, **world):
        world = make_world(*settings, **world)
        seen = SimpleNamespace(trainer=None, steps=[], feeds=[], states=[], history=None, validated=[])

        class Watched(trainer.Trainer):
            def __init__(self, *what):
                seen.trainer = self
                super().__init__(*what)

        class WatchedStep(trainer.TrainingStep):
            def accumulate(self, feed):
                found = super().accumulate(feed)
                seen.steps.append([found[0].item()])
                return found

            def update(self):
                norm = super().update()
                seen.steps[-1].append(norm.item())
                return norm

        class WatchedPlan(trainer.BatchPlan):
            def microbatches(self, *what):
                seen.feeds.append(what)
                return super().microbatches(*what)

        def save_state(state, work):
            progress = copy.deepcopy(state.progress)
            current, ema_weights = seen.trainer.training_step.current, seen.trainer.training_step.ema_weights
            assert state.model.keys() == current.keys()
            assert all(torch.equal(tensor, current[name]) for name, tensor in state.model.items())
            assert all(torch.equal(tensor, ema_weights[name]) for name, tensor in state.ema_weights.items())
            assert state.best.keys() == current.keys()
            seen.states.append((progress, state))

        real = trainer.validate

        def validate(model, data, *what):
            seen.validated.append((data.rows, what))
            return (
                real(model, data, *what) if losses is None else (losses[len(seen.validated) - 1], {"val_accuracy": 0.5})
            )

        with monkeypatch.context() as patch:
            patch.setattr(stage, "Trainer", Watched)
            patch.setattr(trainer, "TrainingStep", WatchedStep)
            patch.setattr(trainer, "BatchPlan", WatchedPlan)
            patch.setattr(trainer, "validate", validate)
            patch.setattr(checkpointing, "save_state", save_state)
            job = TrainJob(valid=world.valid, features=world.features, config=world.config, store=str(world.store.root))
            work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
            work.mkdir()
            stage.run_training(job, work)
        seen.history = json.loads((work / "history.json").read_text())
        return seen

    return make


@pytest.fixture
def fail(monkeypatch):
    """fail(n=outcome): the nth call of accumulate, counted from 1, returns this loss, or raises this error."""

    def make(**outcomes):
        calls = []
        real = trainer.TrainingStep.accumulate

        def accumulate(self, feed):
            calls.append(1)
            outcome = outcomes.get(f"n{len(calls)}")
            if isinstance(outcome, BaseException):
                next(feed)
                raise outcome
            loss, rows = real(self, feed)
            return (loss if outcome is None else torch.tensor(outcome)), rows

        monkeypatch.setattr(trainer.TrainingStep, "accumulate", accumulate)

    return make


def written(entry):
    """As history.json has it."""
    return json.loads(entry.model_dump_json(exclude_unset=True))


def full():
    return torch.OutOfMemoryError("CUDA out of memory")


def test_an_epochs_record_is_that_of_its_steps(run):
    seen = run(*FOUR_STEPS, "train.learning_rate=0.01", "train.warmup_ratio=0.25", losses=[2.0, 1.0])
    assert len(seen.history["epochs"]) == 2
    for number, entry in enumerate(seen.history["epochs"]):
        losses, norms = np.array(seen.steps[4 * number : 4 * number + 4]).T
        assert entry == {
            "epoch": number + 1,
            "stage": "full",
            "train_loss": pytest.approx(losses.mean()),
            "val_loss": [2.0, 1.0][number],
            "val_accuracy": 0.5,
            "learning_rate": pytest.approx(0.01 * rate_factor(4 * number + 3, 8, 0.25)),
            "grad_norm": pytest.approx(norms.mean()),
            "seconds": entry["seconds"],
        }
        assert entry["seconds"] == round(entry["seconds"], 3) > 0
    assert seen.feeds == [(1, 0, False), (2, 0, False)]
    assert [rows for rows, _ in seen.validated] == [4, 4]
    assert all(what == (seen.trainer.config, seen.trainer.processes, None) for _, what in seen.validated)
    figures = seen.trainer.meter.sums
    assert (figures["samples"], figures["flops"]) == (32, 0.0)
    assert figures["wait_s"] == pytest.approx(seen.trainer.device_loader.waited_s)
    assert figures["peak_bytes"] > 2**20
    assert (seen.history["figures"]["devices"], seen.history["figures"]["samples"]) == (1, 32)
    assert seen.trainer.notes() == []
    assert (seen.trainer.epochs, seen.trainer.finished) == (2, True)


def test_the_training_draws_as_the_config_says(run):
    plan = run("seed=7", "fusion.modality_dropout=0.3", "train.epochs=1").trainer.batch_plan
    assert (plan.seed, plan.modality_dropout, plan.config.batch_size) == (7, 0.3, 8)
    assert (plan.rank, plan.processes, plan.even, plan.tokens, plan.chances) == (0, 1, False, None, None)
    assert plan.present.tolist() == [[True, n % 5 != 0] for n in range(16)]


def test_rows_are_drawn_and_judged_evenly(run):
    seen = run("train.class_balance=sampler", "train.epochs=1")
    even = [16 / (3 * rows) for rows in (6, 5, 5)]  # of the labels a, b and c
    chances = [1 / (3 * (6, 5, 5)[n % 3]) for n in range(16)]
    assert seen.trainer.batch_plan.chances == pytest.approx(chances)
    ((_, (*_, balance)),) = seen.validated
    assert balance.tolist() == pytest.approx(even)
    assert seen.trainer.training_step.balance is None  # not twice
    weighted = run("train.class_balance=class-weights", "train.epochs=1").trainer
    assert weighted.batch_plan.chances is None
    assert weighted.training_step.balance.tolist() == pytest.approx(even)


def test_batches_of_so_many_tokens_know_the_length_of_every_text(run):
    plan = run("train.max_tokens=100", "train.epochs=1", other="text").trainer.batch_plan
    assert plan.tokens.tolist() == [0 if n % 5 == 0 else 6 + n for n in range(16)]
    assert run("train.epochs=1", other="text").trainer.batch_plan.tokens is None


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (1, [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]),
        (3, [(0, 3), (1, 0), (1, 2)]),  # the third and the sixth step of the run
        (4, [(1, 0)]),
    ],
)
def test_a_state_is_written_after_so_many_steps_and_after_every_epoch_but_the_last(run, every, expected):
    seen = run(*FOUR_STEPS, f"train.checkpoint_steps={every}", "train.ema_decay=0.5", losses=[2.0, 1.0])
    assert [(progress.epoch, progress.step) for progress, _ in seen.states] == expected
    for progress, state in seen.states:
        since = 4 * progress.epoch
        losses, norms = zip(*seen.steps[since : since + progress.step], strict=True) if progress.step else ((), ())
        assert (progress.losses, progress.norms) == (list(losses), list(norms))
        assert (progress.seconds > 0) is (progress.step > 0)
        assert (progress.stage, progress.stage_epochs, progress.stale) == (0, progress.epoch, 0)
        assert (progress.best_epoch, progress.best_loss) == ((0, None), (1, 2.0))[progress.epoch]
        assert [written(entry) for entry in progress.history] == seen.history["epochs"][: progress.epoch]
        assert progress.figures["samples"] == 16 * progress.epoch + 4 * progress.step
        assert state.ema_weights.keys() == state.model.keys()
        assert state.optimizer.keys() == {name for name, _ in seen.trainer.training_step.plain.named_parameters()}
    schedule = seen.trainer.checkpoint_schedule
    assert (schedule.every, schedule.steps_only, schedule.writes) == (every, False, True)


def test_without_an_average_none_is_written(run):
    (_, state), *_ = run(*FOUR_STEPS, "train.checkpoint_steps=1", "train.ema_decay=0").states
    assert state.ema_weights == {}


def test_an_epoch_that_is_no_better_is_stale(run):
    seen = run(
        "train.epochs=9", "train.early_stopping_patience=2", "train.checkpoint_steps=2", losses=[3.0, 1.0, 1.0, 2.0]
    )
    assert [entry["epoch"] for entry in seen.history["epochs"]] == [1, 2, 3, 4]
    assert seen.history["best_epoch"] == 2
    assert [(progress.stale, progress.stage_epochs) for progress, _ in seen.states] == [(0, 1), (0, 2), (1, 3)]
    ended = seen.trainer.progress
    assert (ended.stage, ended.stage_epochs, ended.stale) == (1, 0, 0)
    assert (seen.trainer.epochs, seen.trainer.finished) == (9, True)


def test_the_best_weights_are_those_of_the_best_epoch(run):
    seen = run("train.epochs=3", "train.checkpoint_steps=2", "train.ema_decay=0", losses=[2.0, 1.0, 3.0])
    (_, first), (_, second) = seen.states
    finished = seen.trainer.finish().state_dict()
    best = seen.trainer.best
    assert best.keys() == second.best.keys()
    assert all(torch.equal(finished[name], tensor) for name, tensor in best.items())
    assert any(not torch.equal(tensor, first.best[name]) for name, tensor in best.items())
    assert all(torch.equal(tensor, second.best[name]) for name, tensor in best.items())
    assert any(not torch.equal(tensor, seen.trainer.training_step.current[name]) for name, tensor in best.items())


def test_the_clock_of_the_steps_stands_still_while_a_state_is_written(run, monkeypatch):
    now = [0.0]

    def clock(self):
        now[0] += 1.0
        return now[0]

    real = checkpointing.CheckpointSchedule.keep

    def keep(self, gather):
        now[0] += 100.0
        real(self, gather)

    monkeypatch.setattr(ThroughputMeter, "clock", clock)
    monkeypatch.setattr(checkpointing.CheckpointSchedule, "keep", keep)
    monkeypatch.setattr(trainer, "LOG_STEPS", 3)
    seen = run(*FOUR_STEPS, "train.checkpoint_steps=2")
    # Looked at after steps 2 and 4, for a state and for the epoch's end.
    assert [entry["seconds"] for entry in seen.history["epochs"]] == [2.0, 2.0]
    assert seen.trainer.meter.sums["train_s"] == 4.0
    seen = run(*FOUR_STEPS, "train.checkpoint_steps=100")
    assert [entry["seconds"] for entry in seen.history["epochs"]] == [2.0, 2.0]  # after steps 3 and 4


@pytest.mark.parametrize("look", [1, 3, 50])
def test_a_loss_that_is_not_finite_is_named_with_its_step(run, fail, monkeypatch, look):
    monkeypatch.setattr(trainer, "LOG_STEPS", look)
    fail(n7=float("inf"))
    with pytest.raises(DataError) as caught:
        run(*FOUR_STEPS, "train.learning_rate=0.25", "train.warmup_ratio=0")
    message = str(caught.value)
    assert message.startswith("training: the loss is inf in epoch 2, step 3 (learning rate 0.")
    assert message.endswith("); lower train.learning_rate, or look for extreme values in the features")


def test_a_validation_loss_that_is_not_finite_is_named_with_its_epoch(run):
    with pytest.raises(DataError) as caught:
        run("train.epochs=3", losses=[1.0, float("nan")])
    assert str(caught.value) == "training: the validation loss is nan in epoch 2; lower train.learning_rate"


def test_out_of_memory_takes_the_step_again_in_halves(run, fail):
    fail(n6=full())
    seen = run(*FOUR_STEPS, "train.checkpoint_steps=3")
    assert seen.feeds == [(1, 0, False), (2, 0, False), (2, 1, True)]
    assert len(seen.steps) == 8  # those that were done
    assert seen.trainer.progress.oom_split == OutOfMemory(epoch=2, step=2)
    assert [progress.oom_split for progress, _ in seen.states] == [None, None, OutOfMemory(epoch=2, step=2)]
    assert seen.trainer.notes() == [
        "The GPU's memory ran out in epoch 2, step 2: from there on every batch was passed through in halves, "
        "their gradients added up."
    ]


def test_gradients_of_a_step_that_did_not_fit_are_forgotten(run, fail, monkeypatch):
    """What was added up before memory ran out would count twice."""

    def exhaust(self, feed):
        for parameter in self.trained:
            parameter.grad = torch.ones_like(parameter)
        raise full()

    through = run("train.epochs=1")
    calls, real = [], trainer.TrainingStep.accumulate

    def accumulate(self, feed):
        calls.append(1)
        return exhaust(self, feed) if len(calls) == 1 else real(self, feed)

    monkeypatch.setattr(trainer.TrainingStep, "accumulate", accumulate)
    again = run("train.epochs=1")
    assert again.steps[0][1] == pytest.approx(through.steps[0][1], rel=0.5)


@pytest.mark.parametrize(
    ("settings", "failing", "expected"),
    [
        ((), (1, 2), TOO_LARGE.replace("= 8;", "= 8 even with halved batches;")),
        ((), (1, 4), TOO_LARGE.replace("= 8;", "= 8 even with halved batches;")),
        (("train.batch_size=1",), (1,), TOO_LARGE.replace("= 8", "= 1")),
    ],
)
def test_what_does_not_fit_in_halves_is_an_error(run, fail, settings, failing, expected):
    fail(**{f"n{number}": full() for number in failing})
    with pytest.raises(EnvironmentFailed) as caught:
        run(*settings)
    assert str(caught.value) == expected


def test_one_of_several_processes_does_not_halve_its_batches(run, monkeypatch):
    def accumulate(self, feed):
        self.processes.count = 2  # as it is where another one trains beside it
        raise full()

    monkeypatch.setattr(trainer.TrainingStep, "accumulate", accumulate)
    with pytest.raises(EnvironmentFailed) as caught:
        run()
    assert str(caught.value) == TOO_LARGE.replace("the GPU's", "in one of 2 processes the GPU's")


def test_a_resumed_run_keeps_the_best_weights_of_before(make_world, monkeypatch, tmp_path):
    class Killed(BaseException):
        """What no code catches."""

    world = make_world("train.epochs=2", "train.checkpoint_steps=1")
    job = TrainJob(valid=world.valid, features=world.features, config=world.config, store=str(world.store.root))
    losses = iter([1.0, 2.0, 1.0, Killed(), 2.0])  # without a break, and with one

    def validate(*what):
        loss = next(losses)
        if isinstance(loss, Killed):
            raise loss
        return loss, {"val_accuracy": 0.5}

    monkeypatch.setattr(trainer, "validate", validate)
    for name in ("through", "killed"):
        (tmp_path / name).mkdir()
    stage.run_training(job, tmp_path / "through")
    with pytest.raises(Killed):
        stage.run_training(job, tmp_path / "killed")
    stage.run_training(job, tmp_path / "killed")
    through, resumed = (
        (
            json.loads((tmp_path / name / "history.json").read_text()),
            (tmp_path / name / "model.safetensors").read_bytes(),
        )
        for name in ("through", "killed")
    )
    assert through[0]["best_epoch"] == resumed[0]["best_epoch"] == 1
    assert [entry["train_loss"] for entry in resumed[0]["epochs"]] == [
        entry["train_loss"] for entry in through[0]["epochs"]
    ]
    assert resumed[1] == through[1]
