"""The training process under fire: killed, late, orphaned. The real subprocess every time."""

import os
import subprocess
import sys

import pytest

from tasks import progress
from tasks.errors import DataError, EnvironmentFailed
from tasks.isolation.process import Lost, Process, answers
from tasks.train.train import train
from tests.stages.train.workers import gone, kill_worker, pausing_after, workers
from tests.waiting import wait_until

LONG = ("train.epochs=100000", "train.early_stopping_patience=100000")


def test_killed_after_an_epoch_it_goes_on_to_the_same_bytes(make_world, monkeypatch):
    through, killed = make_world("train.ema_decay=0.5"), make_world("train.ema_decay=0.5")
    expected = train(*through.all, isolate=False)  # in this process: isolation changes nothing either
    epochs = []

    def kill_after_the_first(step, done, total, message):
        epochs.append(done)
        if done == 1:
            kill_worker()

    with (
        pausing_after(1, monkeypatch),
        progress.listening(kill_after_the_first),
        pytest.raises(EnvironmentFailed, match="SIGKILL") as caught,
    ):
        train(*killed.all)
    assert caught.value.transient, "Prefect tries it again"
    assert epochs == [1]
    epochs.append(0)
    with progress.listening(lambda step, done, total, message: epochs.append(done)):
        ref = train(*killed.all)
    assert epochs[epochs.index(0) + 1] > 1  # it went on, it did not begin again
    assert ref == expected.model_copy(update={"uri": ref.uri})


def test_a_damaged_state_is_not_gone_on_from(make_world):
    world = make_world()
    expected = train(*world.all, isolate=False)
    again = make_world()
    with again.store.work_dir("train", expected.train_key) as work:
        (work / "state.safetensors").write_bytes(b"\x08garbage")
    assert train(*again.all, isolate=False).model_sha256 == expected.model_sha256


def test_out_of_time_it_is_killed(make_world):
    world = make_world(*LONG, "runtime.train_timeout_s=1")
    seen = []
    with (
        progress.listening(lambda *what: seen.extend(workers())),
        pytest.raises(EnvironmentFailed, match=r"longer than 1 s.*runtime\.train_timeout_s"),
    ):
        train(*world.all)
    assert not workers()
    assert all(map(gone, seen))


def test_an_interrupt_takes_the_process_with_it(make_world):
    seen = []

    def interrupt(step, done, total, message):
        seen.extend(workers())
        raise KeyboardInterrupt

    with progress.listening(interrupt), pytest.raises(KeyboardInterrupt):
        train(*make_world(*LONG).all)
    assert len(seen) == 1
    assert gone(seen[0])


def test_the_loops_errors_come_through(make_world):
    def empty(rows):
        for row in rows:
            row["split"] = "train"

    with pytest.raises(DataError, match="no rows in the val split"):
        train(*make_world(change=empty).all)


def test_answers_that_come_together_are_told_apart():
    code = (
        "import sys; from tasks.isolation.wire_protocol import pack\n"
        "sys.stdout.buffer.write(pack({'n': 1}, b'x' * 70000) + pack({'n': 2}) + pack({'done': True}) + b'half')"
    )
    with Process([sys.executable, "-c", code], os.environ) as process:
        assert list(answers([process], each_s=600)) == [({"n": 1}, b"x" * 70000), ({"n": 2}, b"")]
        with pytest.raises(Lost, match="died"):
            process.receive(600)


def test_a_gpu_that_is_full_outside_of_a_step_is_told_in_one_line():
    code = (
        "import torch, tasks.train.stage as loop, tasks.train.worker as worker\n"
        "def full(*_): raise torch.OutOfMemoryError('CUDA out of memory.\\nTried to allocate 2 GiB')\n"
        "loop.run_training, worker.TrainJob.model_validate = full, lambda job: job\n"
        "import sys; sys.exit(worker.main())\n"
    )
    with Process([sys.executable, "-c", code], os.environ) as process:
        process.send({"job": {}, "work": "."})
        message, _ = process.receive(600)
        with pytest.raises(Lost, match="died"):
            process.receive(600)
        assert process.stop().code == 4
    assert message["error"] == "EnvironmentFailed"
    assert "(CUDA out of memory. Tried to allocate 2 GiB); lower train.batch_size" in message["text"]


def test_it_does_not_outlive_its_parent(make_world, tmp_path):
    world = make_world(*LONG)
    job = tmp_path / "job.json"
    from tasks.train.request import TrainJob

    job.write_text(
        TrainJob(
            valid=world.valid, features=world.features, config=world.config, store=str(world.store.root)
        ).model_dump_json()
    )
    code = (
        "import pathlib, sys; from tasks.train.request import TrainJob; from tasks.train.train import train;"
        "from tasks.store import Store; from tasks import progress;"
        "progress._listeners.append(lambda *what: print(what, flush=True));"
        "job = TrainJob.model_validate_json(pathlib.Path(sys.argv[1]).read_text());"
        "train(job, Store(job.store))"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code, str(job)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()  # an epoch is done
        (worker,) = workers(parent.pid)
        parent.kill()
    wait_until(lambda: gone(worker), "the training process has noticed")
