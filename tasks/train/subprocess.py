"""Training in processes of its own, which can be killed, and never outlive the one that started them."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from pathlib import Path

from data_contracts.training_history import Epoch
from tasks import progress
from tasks.errors import EnvironmentFailed
from tasks.isolation.process import Lost, OutOfTime, Process, answers, command_of
from tasks.train.request import RENDEZVOUS, TrainJob, TrainOrder

LOG = "worker.log"
WORKER = command_of("tasks.train.worker")


def run_in_subprocess(job: TrainJob, work: Path) -> None:
    """Runs the loop in a subprocess for each of `train.devices` and passes its progress on; all are gone when this ends.

    Raises what the loop raised, or EnvironmentFailed where a process died or time ran out. One that fails ends them all.
    """
    meeting = work / f"meeting-{uuid.uuid4().hex}"
    timeout_s = job.config.runtime.train_timeout_s
    with contextlib.ExitStack() as stack:
        stack.callback(meeting.unlink, missing_ok=True)
        workers = [stack.enter_context(_start(rank, job, work, meeting)) for rank in range(job.config.train.devices)]
        try:
            for worker in workers:
                order: TrainOrder = {"job": job.model_dump(mode="json"), "work": str(work)}
                worker.send(order)
            for message, _ in answers(workers, all_s=timeout_s):
                if "progress" in message:
                    progress.report(*message["progress"])
                elif "line" in message:
                    progress.log(*message["line"])
                elif "epoch" in message:
                    progress.report_epochs([Epoch.model_validate(message["epoch"])])
        except OutOfTime:
            raise EnvironmentFailed(
                f"training: took longer than {timeout_s:g} s and was ended; run again to resume from where its state was "
                "last kept, or raise runtime.train_timeout_s"
            ) from None
        except Lost as lost:
            place = workers.index(lost.process) + 1
            which = f"process {place} of {len(workers)}" if len(workers) > 1 else "its process"
            ended = lost.process.stop()
            killed = ended.code < 0  # by the kernel, say, when memory was short for a moment
            text = f"training: {which} {lost} ({ended}); run again to resume"
            raise EnvironmentFailed(text, transient=killed) from None


def _start(rank: int, job: TrainJob, work: Path, meeting: Path) -> Process:
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
            ),  # of numpy too, whose threads torch's setting does not reach
        }
        if sys.platform == "linux":  # all are on this machine, whose name need not resolve
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return Process(WORKER, environment, work / (LOG if rank == 0 else f"worker-{rank}.log"))
