"""The flow in processes of their own: the same model as without Prefect, nothing done twice, nothing lost to kill -9."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.data import SMALL, write_learnable
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
CROSSMODAL = str(Path(sys.executable).parent / "crossmodal")
Command = Callable[..., list[str]]
SHARDS = ["--set", "extract.shard_rows=8"]
STANDSTILL = str(Path(__file__).with_name("standstill"))


def retrain(data: Path, store: Path, *more: str) -> list[str]:
    """A retrain of that data in that store; the state is there as soon as training has begun."""
    settings = [part for value in (*SMALL, "train.checkpoint_steps=1") for part in ("--set", value)]
    return [CROSSMODAL, "retrain", "--data", str(data), "--store", str(store), "--json", *settings, *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_learnable(tmp_path_factory.mktemp("learnable"))


@pytest.fixture
def command(data: Path) -> Command:
    """command(store, "--plain") is a retrain of the learnable data in that store."""
    return partial(retrain, data)


@dataclass(frozen=True)
class Whole:
    """A run that nothing disturbed, without Prefect."""

    store: Path
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    store = tmp_path_factory.mktemp("whole") / "store"
    return Whole(store, run(retrain(data, store, "--plain", *SHARDS)))


def run(arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def standing_still(before: str) -> dict[str, str]:
    """An environment in which the process that comes to this point stops itself (standstill/sitecustomize.py)."""
    return os.environ | {"PYTHONPATH": STANDSTILL, "STAND_STILL_BEFORE": before}


def descendants(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found.extend(map(int, (thread / "children").read_text().split()))
    return found


def state_of(pid: int) -> str:
    """R, S, T for one that stands still, Z for one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def wait_for_standstill(process: subprocess.Popen[Any]) -> list[int]:
    """Ids of the command and of what it has started, once one of them stands still."""
    stopped = []

    def stands() -> bool:
        assert process.poll() is None, "the run ended before it came to the point"
        stopped[:] = [pid for pid in descendants(process.pid) if state_of(pid) == "T"]
        return bool(stopped)

    wait_until(stands, "the run comes to the point")
    return stopped


def kill_before(arguments: list[str], point: str) -> None:
    """Starts the command and sends SIGKILL to it, and to it alone, at a point."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(arguments, stdout=quiet, stderr=quiet, start_new_session=True, env=standing_still(point))
    try:
        stopped = wait_for_standstill(process)
        trainers = [pid for pid in descendants(process.pid) if b"tasks." in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for pid in set(stopped) - {process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        wait_until(lambda: {state_of(pid) for pid in trainers} <= {"Z"}, "what it had started has noticed by itself")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # Prefect's temporary server does not


COUNTED = """
import sys
from tasks.samples import Samples
digest = Samples.digest
Samples.digest = lambda samples, names: print("all samples are hashed", file=sys.stderr) or digest(samples, names)
from flows.cli import main
main(sys.argv[1:])
"""


def run_counted(arguments: list[str]) -> dict[str, Any]:
    """As `run`. The samples are hashed once for the key of training.

    The GPU slot, the cache's verification, Prefect's cache key, the stage and its commit ask for it, each by itself.
    """
    command = [sys.executable, "-c", COUNTED, *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("all samples are hashed") == 1
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


def test_prefect_and_plain_give_the_same_model_and_prefect_does_nothing_twice(
    command: Command, tmp_path: Path, whole: Whole
) -> None:
    flow = run_counted(command(tmp_path / "flow", *SHARDS))
    assert whole.summary["verdict"] == flow["verdict"] == "promote"
    assert whole.summary["model"]["sha256"] == flow["model"]["sha256"]
    assert whole.summary["metrics"] == flow["metrics"]
    again = run_counted(command(tmp_path / "flow", *SHARDS))
    assert again["verdict"] == "unchanged"
    assert set(again["work"]["computed"].values()) == {0}
    results = list((tmp_path / "flow" / "prefect" / "storage").rglob("*"))
    assert results
    assert all(json.loads(path.read_text()) is not None for path in results if path.is_file()), "every result is JSON"


@pytest.mark.parametrize("how", ["--plain", "prefect"])
def test_a_run_killed_in_extract_and_again_in_train_ends_with_the_same_model(
    command: Command, tmp_path: Path, whole: Whole, how: str
) -> None:
    more = [*SHARDS, "--plain"] if how == "--plain" else SHARDS
    killed = tmp_path / "killed"
    kill_before(command(killed, *more), r"4 /features/[^/]+/[^/]+/[^/]+\.parquet$")
    kept = set(killed.glob("features/*/*/*.parquet"))
    # Under Prefect shards are extracted by several threads: another one may have finished beside the one that stood still.
    assert 3 <= len(kept) < len(list(whole.store.glob("features/*/*/*.parquet")))
    assert not list(killed.glob("checkpoints/*"))
    kill_before(command(killed, *more), r"2 /work/train-[^/]+/state")
    assert list(killed.glob("work/train-*/state*"))
    assert not list(killed.glob("checkpoints/*"))
    finished = run(command(killed, *more))
    assert kept <= set(killed.glob("features/*/*/*.parquet")), "what was computed before the kill was used"
    assert finished["verdict"] == "promote"
    assert finished["model"]["sha256"] == whole.summary["model"]["sha256"]
    assert not list((killed / "work").glob("train-*/state*"))


def test_ctrl_c_ends_with_130_and_leaves_a_store_that_goes_on(
    command: Command, tmp_path: Path, interruptible: Command
) -> None:
    quiet, pipe = subprocess.DEVNULL, subprocess.PIPE
    started = interruptible(command(tmp_path / "s"))
    point = standing_still(r"2 /work/train-[^/]+/state")
    process = subprocess.Popen(started, stdout=quiet, stderr=pipe, text=True, env=point)
    try:
        wait_for_standstill(process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert run(command(tmp_path / "s", "--plain"))["verdict"] == "promote"
