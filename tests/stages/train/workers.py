"""The training processes that a process has started, seen in /proc; and a kill of one at a chosen epoch."""

import contextlib
import os
import signal
import sys
from pathlib import Path

from tasks.train import subprocess

PAUSING = str(Path(__file__).with_name("pausing_worker.py"))


def workers(parent: int | None = None) -> list[int]:
    """Process ids, in the order in which they were started."""
    pid = os.getpid() if parent is None else parent
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return sorted(child for child in children if _trains(child))


def _trains(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"tasks.train.worker" in command or PAUSING.encode() in command


def gone(pid: int) -> bool:
    """True once a process has ended, whether or not anyone has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@contextlib.contextmanager
def pausing_after(epoch, monkeypatch):
    """Training processes stand still once they have reported this epoch, so that a kill comes neither early nor late."""
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "WORKER", (sys.executable, "-P", PAUSING))
        patch.setenv("PAUSE_AFTER_EPOCH", str(epoch))
        yield


def kill_worker(rank: int = 0) -> None:
    """Kills the process of a rank; the others stand still, so that its end is the first to be noticed."""
    started = workers()
    for pid in started:
        os.kill(pid, signal.SIGSTOP)
    os.kill(started[rank], signal.SIGKILL)
