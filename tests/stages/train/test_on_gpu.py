"""Training on a CUDA device against training on the CPU, and what only a device has (make test-gpu)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from tasks import progress
from tasks.errors import EnvironmentFailed
from tasks.modeling import encoders
from tasks.train import stage
from tasks.train.dataset import TableSource
from tasks.train.processes import Processes
from tasks.train.request import TrainJob
from tasks.train.train import train
from tests.stages.train.workers import kill_worker, pausing_after

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
EPOCHS = ("train.epochs=8", "train.batch_size=4", "train.early_stopping_patience=100")


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch):
    """Dropout masks are drawn on the device, all else on the CPU: without them both train on the same numbers."""
    monkeypatch.setattr(encoders, "DROPOUT", 0.0)


def _history(world):
    ref = train(*world.all, isolate=False)
    return json.loads((world.store.path(ref.uri) / "history.json").read_text())


def _losses(history):
    return np.array([[epoch["train_loss"], epoch["val_loss"]] for epoch in history["epochs"]])


def _exact(*settings):
    return (*EPOCHS, "fusion.dropout=0", *settings)


@pytest.mark.parametrize("other", ["audio", "text", "video"])
def test_float32_on_the_device_has_the_curve_of_the_cpu_and_bf16_stays_near_it(make_world, monkeypatch, other):
    expected = _losses(_history(make_world(*_exact("train.device=cpu"), other=other)))
    bf16 = _losses(_history(make_world(*_exact(), other=other)))
    monkeypatch.setattr(Processes, "bf16", False)
    float32 = _losses(_history(make_world(*_exact(), other=other)))
    np.testing.assert_allclose(float32, expected, atol=0.05)  # convolutions in TF32; 0.022 was seen
    np.testing.assert_allclose(bf16, expected, atol=0.1)
    assert expected[-1, 0] < 0.9 * expected[0, 0]  # it learned: curves of nothing would agree, too


@pytest.mark.parametrize("regime", ["full", "last-n", "lora", "head"])
def test_every_regime_has_the_curve_of_the_cpu(make_world, shufflenet, regime):
    settings = _exact(*shufflenet, f"train.regime={regime}", "train.head_epochs=1", "train.epochs=3")
    if regime == "head":
        settings = (*settings, shufflenet[0].replace("image", "video", 1))
    width = 1024 if regime == "head" else None
    expected = _losses(_history(make_world(*settings, "train.device=cpu", width=width)))
    found = _history(make_world(*settings, width=width))
    np.testing.assert_allclose(_losses(found), expected, atol=0.1)


@pytest.mark.parametrize(
    "setting",
    [
        "train.gradient_accumulation_steps=2",
        "train.mixup=0.4",
        "train.cutmix=1",
        "train.trivial_augment=true",
        "train.min_crop_scale=0.5",
    ],
)
def test_what_changes_batches_changes_them_alike(make_world, setting):
    expected = _losses(_history(make_world(*_exact(setting, "train.device=cpu"))))
    np.testing.assert_allclose(_losses(_history(make_world(*_exact(setting)))), expected, atol=0.1)


def test_figures_of_a_run_on_the_device(make_world):
    figures = _history(make_world(*_exact()))["figures"]
    assert figures["device"] == torch.cuda.get_device_name()
    assert figures["gpu_s"] == figures["train_s"] > 0
    assert figures["peak_memory_mb"] > 1
    assert figures["flops_per_sample"] > 1e6
    assert 0 <= figures["data_wait_share"] <= 1


def test_batches_from_pinned_memory_are_those_of_the_cpu(make_world):
    world = make_world(*_exact())
    data = _dataset(world)
    rows = np.array([3, 1, 2, 9])
    expected = TableSource(data.inputs, torch.device("cpu")).take(rows)
    found = TableSource(data.inputs, torch.device("cuda")).take(rows)
    assert found.keys() == expected.keys()
    for name, part in expected.items():
        for mine, theirs in zip(found[name], part, strict=True):
            assert mine.device.type == "cuda"
            torch.testing.assert_close(mine.cpu(), theirs)


def test_killed_on_the_device_it_goes_on_along_the_same_curve(make_world, monkeypatch):
    """To the byte only on a CPU: on a GPU sums may come in another order from run to run."""
    settings = (*EPOCHS, "train.checkpoint_steps=1", "train.threads=1")
    through, killed = make_world(*settings), make_world(*settings)
    expected = _losses(_isolated(through))
    reported = []

    def kill_after_the_third(step, done, total, message):
        reported.append(done)
        if done == 3:
            kill_worker()

    with (
        pausing_after(3, monkeypatch),
        progress.listening(kill_after_the_third),
        pytest.raises(EnvironmentFailed, match="SIGKILL"),
    ):
        train(*killed.all)
    reported.clear()
    with progress.listening(lambda step, done, total, message: reported.append(done)):
        found = _isolated(killed)
    assert reported[0] > 3  # it went on, it did not begin again
    np.testing.assert_allclose(_losses(found), expected, atol=0.05)
    assert found["figures"]["samples"] == 8 * 16


def _isolated(world):
    ref = train(*world.all)
    return json.loads((world.store.path(ref.uri) / "history.json").read_text())


def test_where_memory_runs_out_batches_are_halved_and_the_step_stays(make_world):
    """Memory is made too small for whole batches by torch's own limit, and large enough for halves."""

    def many(rows):
        rows[:] = [row | {"id": f"{row['id']}-{n:03}"} for n in range(512) for row in rows]

    def run(batch):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        settings = (f"train.batch_size={batch}", "train.epochs=2", "fusion.dropout=0", "train.augment=false")
        history = _history(make_world(*settings, change=many))
        return history, torch.cuda.max_memory_reserved()

    whole, most = run(8192)
    _, least = run(4096)
    assert whole["oom_split"] is None
    assert least < 0.9 * most
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((least + most) / 2 / torch.cuda.get_device_properties(0).total_memory)
    try:
        oom_split, _ = run(8192)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert oom_split["oom_split"] == {"epoch": 1, "step": 1}
    assert "memory ran out in epoch 1, step 1" in oom_split["figures"]["notes"][0]
    np.testing.assert_allclose(_losses(oom_split), _losses(whole), atol=0.1)  # batch norms see halves


def test_compiled_encoders_have_the_curve_of_uncompiled_ones(make_world):
    torch.compiler.reset()
    expected = _losses(_history(make_world(*_exact("train.epochs=2"))))
    found = _losses(_history(make_world(*_exact("train.epochs=2", "train.compile=true"))))
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_two_processes_on_one_device_are_refused(make_world):
    if torch.cuda.device_count() > 1:
        pytest.skip("needs a machine with one device")
    with pytest.raises(EnvironmentFailed, match=r"train\.devices = 2: this machine has 1 GPUs; lower it"):
        train(*make_world("train.devices=2").all)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_group_of_one_process_over_nccl_has_the_curve_of_none(
    make_world, shufflenet, tmp_path, monkeypatch, strategy
):
    """One device shows that wrappers, bf16, the fused step and NCCL work together; what several compute is shown on CPUs."""
    settings = _exact(
        *shufflenet, "train.regime=full", "train.head_epochs=1", "train.epochs=3", "train.gradient_accumulation_steps=2"
    )
    settings = (*settings, "train.augment=false", f"train.strategy={strategy}")
    expected = _losses(_history(make_world(*settings)))
    wrapped = []

    class Grouped(Processes):
        """Set up as one of several: it meets the others, and the model is wrapped."""

        def __init__(self, config):
            super().__init__(config.model_copy(update={"devices": 1}))

        @property
        def divides(self):
            return self.strategy == "fsdp"

        def wrap(self, model):
            self.count = 2  # by which it is decided what to wrap
            try:
                wrapped.append(super().wrap(model))
            finally:
                self.count = 1
            return wrapped[-1]

    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1
    )
    try:
        monkeypatch.setattr(stage, "Processes", Grouped)
        found = _history(make_world(*settings))
    finally:
        torch.distributed.destroy_process_group()
    assert isinstance(wrapped[-1], DistributedDataParallel if strategy == "ddp" else FSDPModule)
    np.testing.assert_allclose(_losses(found), expected, atol=0.05)


def _dataset(world):
    from tasks.modeling.package import describe_model
    from tasks.modeling.targets import targets_of_card
    from tasks.train.dataset import load_dataset
    from tasks.train.request import read_samples
    from tasks.train.warm_start import begin

    job = TrainJob(valid=world.valid, features=world.features, config=world.config, store=str(world.store.root))
    start = begin(None, read_samples(job.valid, world.store), world.config, world.store)
    targets = targets_of_card(describe_model(job.valid, job.features, world.config)).fit(start.samples)
    return load_dataset(start.samples, "train", job, targets, world.store)
