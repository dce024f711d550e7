"""Two processes over gloo against one: the same curve, whatever is uneven; failures, kills, no orphans. Real processes."""

import json

import pytest

from tasks import progress
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.package import load_model
from tasks.train.train import train
from tests.stages.train.workers import gone, kill_worker, pausing_after, workers

EXACT = (
    "fusion.dropout=0",
    "train.early_stopping_patience=100",
)  # what the network drops is drawn by each process for its own rows
TWO = "train.devices=2"


def _curve(world, isolate=True):
    ref = train(*world.all, isolate=isolate)
    folder = world.store.path(ref.uri)
    history = json.loads((folder / "history.json").read_text())
    return ref, load_model(folder).state_dict(), history


def _same(one, two):
    assert len(one["epochs"]) == len(two["epochs"]) > 1
    for first, second in zip(one["epochs"], two["epochs"], strict=True):
        for name in ("train_loss", "val_loss", "grad_norm"):
            assert second[name] == pytest.approx(first[name], abs=1e-4)
        assert second["learning_rate"] == first["learning_rate"]


def _drop_rows(count):
    """Leaves so many training rows: 16 less the given number."""

    def change(rows):
        for row in [row for row in rows if row["split"] == "train"][:count]:
            row["split"] = "test"

    return change


@pytest.mark.parametrize(
    ("settings", "dropped"),
    [
        ((), 0),
        (
            ("train.batch_size=5", "train.gradient_accumulation_steps=2"),
            3,
        ),  # 13 rows: steps of 10 and 3, microbatches of 5, 5, 3
        (("train.batch_size=4",), 3),  # the last step has a single row: one process has none
    ],
)
def test_two_have_the_curve_of_one(make_world, shufflenet, settings, dropped):
    """Some samples lack a clip, so the shares of it are uneven too."""
    change = _drop_rows(dropped)
    one, two = (_embeddings(make_world, shufflenet, *settings, *more, change=change) for more in ((), (TWO,)))
    first, second = _curve(one, isolate=False), _curve(two)
    _same(first[2], second[2])
    assert second[2]["figures"]["devices"] == 2
    assert second[2]["figures"]["samples"] == first[2]["figures"]["samples"] == 3 * (16 - dropped)
    assert not workers()


def _embeddings(make_world, shufflenet, *settings, change=None):
    return make_world(
        *EXACT, *shufflenet, shufflenet[0].replace("image", "video", 1), *settings, change=change, width=1024
    )


def _tuned(make_world, shufflenet, *settings):
    return make_world(*EXACT, *shufflenet, *settings)


@pytest.mark.slow
def test_with_batch_norms_and_augmentation_two_processes_learn_too(make_world):
    settings = ("train.epochs=6", "train.learning_rate=0.01", "train.ema_decay=0.5", "train.augment=false")
    history = _curve(make_world(*settings, TWO))[2]["epochs"]
    assert history[-1]["train_loss"] < 0.9 * history[0]["train_loss"]


@pytest.mark.parametrize(
    ("strategy", "rank"),
    [
        ("ddp", 0),
        pytest.param("ddp", 1, marks=pytest.mark.slow),
        pytest.param("fsdp", 1, marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_ends_the_run_and_it_goes_on_to_the_same_bytes(
    make_world, shufflenet, monkeypatch, strategy, rank
):
    settings = (TWO, f"train.strategy={strategy}", "train.checkpoint_steps=1", "train.ema_decay=0.5")
    world = _embeddings
    if strategy == "fsdp":  # a divided network is trained in the second epoch, in which the kill comes
        world, settings = _tuned, (*settings, "train.regime=full", "train.head_epochs=1", "train.epochs=2")
    through, killed = (world(make_world, shufflenet, *settings) for _ in range(2))
    expected = _curve(through)
    started, epochs = [], []

    def kill_one(step, done, total, message):
        epochs.append(done)
        if done == 2 and not started:
            started.extend(workers())
            kill_worker(rank)

    with (
        pausing_after(2, monkeypatch),
        progress.listening(kill_one),
        pytest.raises(EnvironmentFailed, match=rf"process {rank + 1} of 2 died \(SIGKILL.*run again to resume"),
    ):
        train(*killed.all)
    assert len(started) == 2
    assert all(map(gone, started))  # the other one went with it
    epochs.append(0)
    with progress.listening(lambda step, done, total, message: epochs.append(done)):
        found = _curve(killed)
    assert epochs[epochs.index(0) + 1 :] == [3]
    assert found[0].model_sha256 == expected[0].model_sha256
    _same(expected[2], found[2])


def test_an_error_of_one_is_the_error_of_the_run(make_world, shufflenet):
    world = _embeddings(make_world, shufflenet, TWO, "train.learning_rate=1e30", "train.warmup_ratio=0")
    with pytest.raises(DataError, match=r"the loss is (nan|inf) in epoch 1"):
        train(*world.all)
    assert not workers()


def test_several_devices_need_processes_of_their_own(make_world):
    with pytest.raises(EnvironmentFailed, match=r"train\.devices = 2: several devices need processes of their own"):
        train(*make_world(TWO).all, isolate=False)
