"""The processes of one `crossmodal up`: which are its own, which outlived it, and how they are ended."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from tasks.store import Store, replace_file

MARKER = "CROSSMODAL_UP"
"""Every process of a stack inherits this variable. It names the stack, so that a recycled pid is never taken for ours."""
RUN = "PREFECT__FLOW_RUN_ID"
"""Prefect's: the flow run that an engine, and whatever it started, works for."""
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_GRACE_S = 15.0


class Stack(BaseModel):
    """What is written down of a running `crossmodal up`."""

    model_config = ConfigDict(extra="forbid")

    marker: str
    worker_since: datetime | None = None
    """When the worker that runs now was started: what was pending before that is lost."""
    server_since: datetime | None = None
    """When the server that runs now was started: runs that had begun before that may have failed for the lack of it."""


def stack_file(store: Store) -> Path:
    """Where the stack of a store is written down."""
    return store.root / "prefect" / "processes.json"


def read_stack(store: Store) -> Stack | None:
    """The stack that was started last on this store and did not end in order; None where there is none."""
    try:
        return Stack.model_validate_json(stack_file(store).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # ValueError: cut short by a full disk; its processes are found by no one
        return None


def write_stack(store: Store, stack: Stack) -> None:
    """Leaves the stack's file, whole or not at all."""
    replace_file(stack_file(store), stack.model_dump_json().encode())


def end_former_stack(store: Store) -> list[str]:
    """Ends what a killed `crossmodal up` left behind, and names it. The caller holds the store's lock: none runs now."""
    former = read_stack(store)
    if former is None:
        return []
    left = marked(former.marker)
    names = [describe(process) for process in left]
    end(left)
    return names


def marked(marker: str) -> list[psutil.Process]:
    """Every process, but this one, that inherited the stack's marker."""
    return [
        process for process in psutil.process_iter() if process.pid != os.getpid() and _has(process, MARKER, marker)
    ]


def working_runs(marker: str | None = None) -> set[str]:
    """The ids of the flow runs for which a process lives on this machine; only those of one stack where it is named."""
    runs = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ()
            if RUN in environment and marker in {None, environment.get(MARKER)}:
                runs.add(environment[RUN])
    return runs


def describe(process: psutil.Process) -> str:
    """`prefect.engine (123)`: the program and its pid, without arguments."""
    try:
        words = process.cmdline()
    except psutil.Error:
        words = []
    names = [word for before, word in itertools.pairwise(words) if before == "-m"]
    return f"{names[0] if names else Path(words[0]).name if words else 'process'} ({process.pid})"


def end(processes: Iterable[psutil.Process], grace_s: float = _GRACE_S) -> None:
    """Ends the processes: SIGTERM, then SIGKILL to those that still live after the grace. All are gone when this returns."""
    left = list(processes)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(left, timeout=grace_s)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=grace_s)


def signal_group(group: int, number: signal.Signals) -> None:
    """Sends the signal to the group; one that is gone is as it should be."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def adopt_orphans() -> None:
    """Orphans among our descendants become our children instead of init's, so that we see and end them (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Orphans:
    """Ends children that came after this was made and that we did not start: what a service that was killed had started."""

    def __init__(self, grace_s: float = _GRACE_S) -> None:
        self.grace_s = grace_s
        self.earlier = set(psutil.Process().children())
        self.deadlines: dict[int, float] = {}

    def poll(self, own: set[int]) -> list[str]:
        """Ends children other than `own`, politely at first sight, then not; the names of those newly found."""
        found = []
        for child in psutil.Process().children():
            if child.pid in own or child in self.earlier:
                continue
            if _reaped(child):
                self.deadlines.pop(child.pid, None)
                continue
            if child.pid not in self.deadlines:
                found.append(describe(child))
                self.deadlines[child.pid] = time.monotonic() + self.grace_s
                child.terminate()
            elif time.monotonic() > self.deadlines[child.pid]:
                child.kill()
        return found


def _reaped(child: psutil.Process) -> bool:
    """True when the child has ended; its entry in the process table is then gone, too."""
    with suppress(psutil.NoSuchProcess, ChildProcessError):
        return bool(os.waitpid(child.pid, os.WNOHANG)[0] == child.pid)
    return True


def _has(process: psutil.Process, name: str, value: str) -> bool:
    try:
        return bool(process.environ().get(name) == value)
    except (psutil.Error, OSError):  # of another user, or gone by now
        return False
