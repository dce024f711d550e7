"""Training in a process of its own, which can be killed, and never outlives the one that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tasks import errors, progress
from tasks.errors import CrossmodalError, EnvironmentFailed
from tasks.train.job import TrainJob

LOG = "worker.log"


def run_isolated(job: TrainJob, work: Path) -> None:
    """Runs the loop in a subprocess and passes its progress on; it is gone when this returns or raises.

    Raises what the loop raised, or EnvironmentFailed where the process died or ran out of time.
    """
    with (work / LOG).open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.train.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us, and we end it
            # cuBLAS is reproducible only with a fixed workspace (NVIDIA, "Results reproducibility"). Threads that wait
            # for each other sleep: where they spin, two runs on two cores take ten times as long each.
            env=os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_WAIT_POLICY": "passive"},
        )
    overdue = threading.Event()

    def end_it() -> None:
        overdue.set()
        _kill(process)

    timer = threading.Timer(job.config.runtime.train_timeout_s, end_it)
    timer.daemon = True
    timer.start()
    try:
        finished = _talk(process, json.dumps({"job": job.model_dump(mode="json"), "work": str(work)}))
    finally:
        timer.cancel()
        _kill(process)
        _close(process)
    if overdue.is_set() and not finished:
        raise EnvironmentFailed(
            f"training: took longer than {job.config.runtime.train_timeout_s:g} s and was ended; run again to go on "
            "from its last epoch, or raise runtime.train_timeout_s"
        )
    if not finished:
        raise EnvironmentFailed(f"training: its process died ({_epitaph(process, work)}); run again to go on")


def _talk(process: subprocess.Popen[str], job: str) -> bool:
    """Sends the job and handles messages until the process ends; True when it said that it had finished."""
    assert process.stdin is not None
    assert process.stdout is not None
    finished = False
    try:
        process.stdin.write(job + "\n")
        process.stdin.flush()  # left open: its end tells the worker that we are gone
    except BrokenPipeError:
        return False
    for line in process.stdout:
        message = json.loads(line)
        if "progress" in message:
            progress.report(*message["progress"])
        elif "error" in message:
            raise _error(message)
        finished = finished or "finished" in message
    return finished


def _error(message: dict[str, Any]) -> CrossmodalError:
    kind: type[CrossmodalError] = getattr(errors, message["error"], EnvironmentFailed)
    return kind(message["text"])


def _epitaph(process: subprocess.Popen[str], work: Path) -> str:
    code = process.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit {code}"
    said = (work / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{how}: {said[-1][:300]}" if said else how


def _kill(process: subprocess.Popen[str]) -> None:
    """Kills the process and all it started; waits until it is gone."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()


def _close(process: subprocess.Popen[str]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                continue  # a dead process did not read it
