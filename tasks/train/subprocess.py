"""Training in processes of its own, which can be killed, and never outlive the one that started them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import errors, progress
from tasks.errors import CrossmodalError, EnvironmentFailed
from tasks.train.request import RENDEZVOUS, TrainJob

LOG = "worker.log"
WORKER = (sys.executable, "-P", "-m", "tasks.train.worker")


@dataclass(frozen=True)
class _Worker:
    """One process and the file that its complaints go to."""

    rank: int
    process: subprocess.Popen[str]
    log: Path


_Messages = queue.Queue[tuple[_Worker, str | None]]
"""Lines that workers wrote; None where one will write no more."""


def run_in_subprocess(job: TrainJob, work: Path) -> None:
    """Runs the loop in a subprocess for each of `train.devices` and passes its progress on; all are gone when this ends.

    Raises what the loop raised, or EnvironmentFailed where a process died or time ran out. One that fails ends them all.
    """
    meeting = work / f"meeting-{uuid.uuid4().hex}"
    workers: list[_Worker] = []
    overdue = threading.Event()

    def end_it() -> None:
        """The processes are killed, and it is known that time was up."""
        overdue.set()
        _kill(workers)

    timer = threading.Timer(job.config.runtime.train_timeout_s, end_it)
    timer.daemon = True
    try:
        for rank in range(job.config.train.devices):
            workers.append(_start(rank, job, work, meeting))
        timer.start()
        failed = _talk(workers, json.dumps({"job": job.model_dump(mode="json"), "work": str(work)}))
    finally:
        timer.cancel()
        _kill(workers)
        _close(workers)
        meeting.unlink(missing_ok=True)
    if failed is None:
        return
    if overdue.is_set():
        raise EnvironmentFailed(
            f"training: took longer than {job.config.runtime.train_timeout_s:g} s and was ended; run again to resume "
            "from where its state was last kept, or raise runtime.train_timeout_s"
        )
    which = f"process {failed.rank + 1} of {len(workers)}" if len(workers) > 1 else "its process"
    killed = failed.process.returncode < 0  # by the kernel, say, when memory was short for a moment
    raise EnvironmentFailed(f"training: {which} died ({_exit_reason(failed)}); run again to resume", transient=killed)


def _start(rank: int, job: TrainJob, work: Path, meeting: Path) -> _Worker:
    # cuBLAS is reproducible only with a fixed workspace (NVIDIA, "Results reproducibility"). Threads that wait for each
    # other sleep: where they spin, two runs on two cores take ten times as long each.
    environment = os.environ | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_WAIT_POLICY": "passive"}
    count = job.config.train.devices
    if count > 1:
        environment |= {
            RENDEZVOUS: meeting.absolute().as_uri(),
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "OMP_NUM_THREADS": str(
                job.config.train.threads
            ),  # of numpy as well, whose threads torch's setting does not reach
        }
        if sys.platform == "linux":  # all are on this machine, whose name need not resolve
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    path = work / (LOG if rank == 0 else f"worker-{rank}.log")
    with path.open("w") as log:
        process = subprocess.Popen(
            [*WORKER, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us, and we end it
            env=environment,
        )
    return _Worker(rank, process, path)


def _talk(workers: list[_Worker], job: str) -> _Worker | None:
    """Sends the job and handles messages until all have finished; the first that ended without saying so, if any did.

    Raises the first error that one reports: what the others then say of the broken connection is of no interest.
    """
    messages: _Messages = queue.Queue()
    for worker in workers:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(job + "\n")
            worker.process.stdin.flush()  # left open: its end tells the worker that we are gone
        except BrokenPipeError:
            return worker
        threading.Thread(target=_listen, args=(worker, messages), daemon=True).start()
    finished: set[int] = set()
    ended = 0
    while ended < len(workers):
        worker, line = messages.get()
        if line is None:
            ended += 1
            if worker.rank not in finished:
                return worker
            continue
        message = json.loads(line)
        if "progress" in message:
            progress.report(*message["progress"])
        elif "line" in message:
            progress.log(*message["line"])
        elif "error" in message:
            raise _error(message)
        elif "finished" in message:
            finished.add(worker.rank)
    return None


def _listen(worker: _Worker, messages: _Messages) -> None:
    assert worker.process.stdout is not None
    for line in worker.process.stdout:
        messages.put((worker, line))
    messages.put((worker, None))


def _error(message: dict[str, Any]) -> CrossmodalError:
    kind: type[CrossmodalError] = getattr(errors, message["error"], EnvironmentFailed)
    return kind(message["text"])


def _exit_reason(worker: _Worker) -> str:
    code = worker.process.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit {code}"
    said = worker.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{how}: {said[-1][:300]}" if said else how


def _kill(workers: list[_Worker]) -> None:
    """Kills the processes and all they started; waits until they are gone."""
    for worker in workers:
        if worker.process.poll() is None:
            try:
                os.killpg(worker.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    for worker in workers:
        worker.process.wait()


def _close(workers: list[_Worker]) -> None:
    for worker in workers:
        for stream in (worker.process.stdin, worker.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # a dead process did not read it
