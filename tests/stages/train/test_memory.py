"""Steps that do not fit at once: out of memory, token budgets, activations computed twice."""

import json

import numpy as np
import pytest
import torch

from tasks.config import TrainConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.train import activation_checkpointing, trainer
from tasks.train.batch_plan import BatchPlan
from tasks.train.train import train

EXACT = (
    "fusion.dropout=0",
    "train.early_stopping_patience=100",
    "train.conformal_alpha=0",  # of which few rows tell nothing, with a note
    "train.ood_false_positive_rate=0",
)


@pytest.fixture
def fill(monkeypatch):
    """fill(n, …): the GPU's memory does not suffice at these calls of accumulate, counted from 1."""

    def make(*numbers):
        calls = []
        real = trainer.TrainingStep.accumulate

        def accumulate(self, feed):
            calls.append(1)
            if len(calls) in numbers:
                next(feed)  # as much was done before memory ran out
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(self, feed)

        monkeypatch.setattr(trainer.TrainingStep, "accumulate", accumulate)
        return calls

    return make


def _embeddings(make_world, shufflenet, *settings):
    return make_world(*EXACT, *shufflenet, shufflenet[0].replace("image", "video", 1), *settings, width=1024)


def _history(world):
    ref = train(*world.all, isolate=False)
    return ref, json.loads((world.store.path(ref.uri) / "history.json").read_text())


def test_out_of_memory_halves_the_batches_and_keeps_the_step(make_world, shufflenet, fill):
    through = _history(_embeddings(make_world, shufflenet))[1]
    assert through["oom_split"] is None
    assert through["figures"]["notes"] == []
    calls = fill(4)  # two steps an epoch
    oom_split = _history(_embeddings(make_world, shufflenet))[1]
    assert len(calls) == 3 * 2 + 1  # that step was done again
    assert oom_split["oom_split"] == {"epoch": 2, "step": 2}
    assert "ran out in epoch 2, step 2" in oom_split["figures"]["notes"][0]
    for one, other in zip(through["epochs"], oom_split["epochs"], strict=True):
        assert other["train_loss"] == pytest.approx(one["train_loss"], abs=1e-4)
        assert other["val_loss"] == pytest.approx(one["val_loss"], abs=1e-4)


def test_out_of_memory_is_met_once(make_world, shufflenet, fill):
    fill(2, 5)
    with pytest.raises(EnvironmentFailed, match=r"train\.batch_size = 8 even with halved batches; lower it"):
        _history(_embeddings(make_world, shufflenet))


def test_halves_that_are_too_large_as_well_are_an_error(make_world, shufflenet, fill):
    fill(1, 2)
    with pytest.raises(EnvironmentFailed, match="even with halved batches"):
        _history(_embeddings(make_world, shufflenet))


def test_one_of_several_processes_that_runs_out_of_memory_ends_the_run(make_world, shufflenet, monkeypatch):
    def accumulate(self, feed):
        self.processes.count = 2  # as it is where another one trains beside it
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.TrainingStep, "accumulate", accumulate)
    message = r"in one of 2 processes the GPU's memory does not suffice for train\.batch_size = 8; lower it"
    with pytest.raises(EnvironmentFailed, match=message):
        _history(_embeddings(make_world, shufflenet))


@pytest.mark.parametrize("regime", ["full", "lora"])
def test_activations_computed_twice_change_nothing(make_world, shufflenet, monkeypatch, regime):
    calls, real = [], activation_checkpointing.checkpoint
    monkeypatch.setattr(
        activation_checkpointing, "checkpoint", lambda *what, **how: calls.append(1) or real(*what, **how)
    )
    settings = (
        *shufflenet,
        f"train.regime={regime}",
        "train.head_epochs=1",
        "train.epochs=1",
        "train.checkpoint_steps=1",
    )
    kept = train(*make_world(*settings).all, isolate=False)
    assert not calls
    again = train(*make_world(*settings, "train.gradient_checkpointing=true").all, isolate=False)
    assert again.model_sha256 == kept.model_sha256
    assert len(calls) > 2 * 10  # steps of the second stage by blocks


def _drawing(tokens, processes=1, rank=0, even=False, **settings):
    present = np.ones((len(tokens), 1), np.bool_)
    config = TrainConfig(batch_size=8, **settings)
    return BatchPlan(present, config, 0.0, 0, rank, processes, tokens=np.array(tokens), even=even)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("oom_split", [False, True])
def test_microbatches_keep_to_the_budget_and_hold_every_row_once(processes, oom_split):
    tokens = np.random.default_rng(0).integers(1, 60, 21)
    seen, shares = [], {}
    for rank in range(processes):
        step = 0
        for microbatch in _drawing(tokens, processes, rank, max_tokens=100).microbatches(1, oom_split=oom_split):
            if microbatch.share:
                assert len(microbatch.rows) == 1 or len(microbatch.rows) * tokens[microbatch.rows].max() <= (
                    50 if oom_split else 100
                )
                seen.extend(microbatch.rows.tolist())
            shares[step] = shares.get(step, 0.0) + microbatch.share
            step += microbatch.last
    assert sorted(seen) == list(range(21))
    assert list(shares.values()) == pytest.approx([processes] * 3)  # the means over a step's rows add up to their mean


def test_processes_that_wait_for_each_other_take_equally_many_pieces():
    tokens = np.array([90, 5, 5, 60, 5, 60, 5, 5])
    free, even = (
        [list(_drawing(tokens, 2, rank, even, max_tokens=100).microbatches(1)) for rank in (0, 1)] for even in (0, 1)
    )
    assert len(free[0]) != len(free[1])
    assert [microbatch.last for microbatch in even[0]] == [microbatch.last for microbatch in even[1]]
    for with_empty, without in zip(even, free, strict=True):
        kept = [microbatch.rows.tolist() for microbatch in with_empty if microbatch.share]
        assert kept == [microbatch.rows.tolist() for microbatch in without]
        assert all(microbatch.shares == 0 for microbatch in with_empty if not microbatch.share)


def test_a_step_has_the_same_rows_with_and_without_a_budget():
    tokens = list(range(1, 17))
    budget = list(_drawing(tokens, max_tokens=20).microbatches(1))
    plain = list(BatchPlan(np.ones((16, 1), np.bool_), TrainConfig(batch_size=8), 0.0, 0).microbatches(1))
    first = [microbatch.rows for microbatch in budget][: [microbatch.last for microbatch in budget].index(True) + 1]
    assert set(np.concatenate(first).tolist()) == set(plain[0].rows.tolist())
    assert len(first) > 1


def test_a_budget_of_tokens_needs_text(make_world):
    with pytest.raises(DataError, match=r"train\.max_tokens: there is no text"):
        train(*make_world("train.max_tokens=100").all, isolate=False)
