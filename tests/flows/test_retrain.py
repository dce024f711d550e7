"""The flow in processes of their own: the same model as without Prefect, nothing done twice, nothing lost to kill -9."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CROSSMODAL = str(Path(sys.executable).parent / "crossmodal")
Command = Callable[..., list[str]]


@pytest.fixture
def command(learnable: Path, small_settings: list[str]) -> Command:
    """command(store, "--plain") is a retrain of the learnable data in that store."""

    def make(store: Path, *more: str) -> list[str]:
        return [
            CROSSMODAL,
            "retrain",
            "--data",
            str(learnable),
            "--store",
            str(store),
            "--json",
            *small_settings,
            "--set",
            "train.checkpoint_steps=1",  # the state is there as soon as training has begun
            *more,
        ]

    return make


def run(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def kill_when(arguments: list[str], reached: Callable[[], bool]) -> None:
    """Starts the command and sends SIGKILL to it, and to it alone, as soon as the condition holds."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(arguments, stdout=quiet, stderr=quiet, start_new_session=True)
    deadline = time.monotonic() + 300
    try:
        while not reached():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1)  # what it had started must notice by itself that it is gone
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Prefect's temporary server does not


def test_prefect_and_plain_give_the_same_model_and_prefect_does_nothing_twice(command: Command, tmp_path: Path) -> None:
    plain = run(command(tmp_path / "plain", "--plain"))
    flow = run(command(tmp_path / "flow"))
    assert plain["verdict"] == flow["verdict"] == "promote"
    assert plain["model"]["sha256"] == flow["model"]["sha256"]
    assert plain["metrics"] == flow["metrics"]
    again = run(command(tmp_path / "flow"))
    assert again["verdict"] == "unchanged"
    assert set(again["work"]["computed"].values()) == {0}
    results = list((tmp_path / "flow" / "prefect" / "storage").rglob("*"))
    assert results
    assert all(json.loads(path.read_text()) is not None for path in results if path.is_file()), "every result is JSON"


@pytest.mark.parametrize("how", ["--plain", "prefect"])
def test_a_run_killed_in_extract_and_again_in_train_ends_with_the_same_model(
    command: Command, tmp_path: Path, how: str
) -> None:
    more = ["--plain"] if how == "--plain" else []
    shards = ["--set", "extract.shard_rows=8"]
    whole = run(command(tmp_path / "whole", "--plain", *shards))
    killed = tmp_path / "killed"
    kill_when(command(killed, *more, *shards), lambda: len(list(killed.glob("features/*/*/*.parquet"))) >= 3)
    kept = set(killed.glob("features/*/*/*.parquet"))
    assert kept
    assert not list(killed.glob("checkpoints/*"))
    kill_when(command(killed, *more, *shards), lambda: any(killed.glob("work/train-*/state*")))
    assert not list(killed.glob("checkpoints/*"))
    finished = run(command(killed, *more, *shards))
    assert kept <= set(killed.glob("features/*/*/*.parquet")), "what was computed before the kill was used"
    assert finished["verdict"] == "promote"
    assert finished["model"]["sha256"] == whole["model"]["sha256"]
    assert not list((killed / "work").glob("train-*/state*"))


def test_ctrl_c_ends_with_130_and_leaves_a_store_that_goes_on(
    command: Command, tmp_path: Path, interruptible: Command
) -> None:
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    process = subprocess.Popen(interruptible(command(tmp_path / "s")), stdout=quiet, stderr=pipe, text=True)
    deadline = time.monotonic() + 300
    while not any((tmp_path / "s").glob("work/train-*/state*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert run(command(tmp_path / "s"))["verdict"] == "promote"
