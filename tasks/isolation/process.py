"""The side that starts a worker: its environment, its time, the errors that it reports, and how it ended.

It leads a session of its own: a Ctrl-C in the terminal reaches us, and we end it, with all that it started.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tasks.errors import DataError, EnvironmentFailed, UsageError
from tasks.isolation.wire_protocol import Message, pack, unpack
from tasks.isolation.worker import PARENT

LARGEST = 1 << 30
"""Bytes of a message's part: none of ours is larger, and one that is declared larger is not waited for."""
_READ_BYTES = 1 << 16
"""Of one look at the pipe, at least: as much as it holds. Each look lets other threads run, and waits for them."""
_START_S = 300.0  # a busy machine takes its time to import
_END_S = 10.0  # and to bury a process that has closed its answers
_ROOT = str(Path(__file__).resolve().parents[2])  # where a worker finds `tasks`, installed or not
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")


class Lost(Exception):
    """A worker gives no more answers: `str` says what it did, `process` which one it is."""

    def __init__(self, what: str, process: Process) -> None:
        super().__init__(what)
        self.process = process


class TooLarge(Lost):
    """A worker declared an answer that none of ours would give."""

    def __init__(self, size_bytes: int, process: Process) -> None:
        super().__init__(f"declared an answer of {size_bytes} bytes", process)
        self.size_bytes = size_bytes


class OutOfTime(Lost):
    """No answer in time; the worker may still run."""


@dataclass(frozen=True)
class Exit:
    """How a worker ended."""

    code: int
    """The exit status, or the signal's number below zero."""
    last_line: str
    """What it wrote last to its log."""

    def __str__(self) -> str:
        name = {int(known): f"{known.name}, " for known in signal.Signals}.get(-self.code, "")
        how = f"{name}signal {-self.code}" if self.code < 0 else f"exit {self.code}"
        return f"{how}: {self.last_line}" if self.last_line else how


def command_of(module: str) -> tuple[str, ...]:
    """What runs a worker's module: `-P`, so that no file beside the user's data is imported."""
    return (sys.executable, "-P", "-m", module)


def bare_environment(**more: str) -> dict[str, str]:
    """What Python needs to start and to find `tasks`, and one thread for its arrays: none of our secrets."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    paths = os.pathsep.join([_ROOT, *filter(None, [kept.get("PYTHONPATH")])])
    return kept | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | more


class Process:
    """One worker. At the end of a `with` block it is gone, and all that it started."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> None:
        self._log = log
        self._unread = b""
        with Path(log or os.devnull).open("wb") as complaints:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env={**environment, PARENT: str(os.getpid())},
                start_new_session=True,
            )

    def fileno(self) -> int:
        """The pipe of its answers, for select, which sees none of those that `has_unread` does."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def has_unread(self) -> bool:
        """Whether a part of an answer came with the one before it."""
        return bool(self._unread)

    def send(self, header: Mapping[str, object], payload: bytes = b"") -> None:
        """The worker gets a whole message. Raises Lost where it has died."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pack(header, payload))
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Lost("died", self) from None

    def receive(self, timeout_s: float) -> Message:
        """The next answer. Raises Lost where there is none, OutOfTime where there is none in time."""
        deadline = time.monotonic() + timeout_s

        def read(size: int) -> bytes:
            """Exactly so many bytes of the answer. Raises as above."""
            if size > LARGEST:
                raise TooLarge(size, self)
            chunks, missing = [self._unread], size - len(self._unread)
            while missing > 0:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self], [], [], left)[0]:
                    raise OutOfTime(f"took longer than {timeout_s:g} s", self)
                chunk = os.read(self.fileno(), min(max(missing, _READ_BYTES), 1 << 20))
                if not chunk:
                    raise Lost("died", self)
                chunks.append(chunk)
                missing -= len(chunk)
            found = b"".join(chunks)
            self._unread = found[size:]
            return found[:size]

        try:
            return unpack(read)
        except ValueError:
            raise Lost("gave a broken answer", self) from None

    def begin(self, header: Mapping[str, object], name: str, module: str) -> None:
        """The worker has its first message and is ready. EnvironmentFailed, which says how to see why, where it is not."""
        try:
            self.send(header)
            self.receive(_START_S)
        except Lost as lost:
            ended = self.stop()
            how = "no answer" if isinstance(lost, OutOfTime) else str(ended)
            see = f"see why with: python -m {module} < /dev/null"
            raise EnvironmentFailed(f"the process that {name} does not start ({how}); {see}") from None

    def kill(self) -> None:
        """Ends it at once, and all that it started; from another thread, too: one that waits sees the end of its answers."""
        if self._process.returncode is None:
            self._kill_group()

    def stop(self) -> Exit:
        """It is gone, and all that it started. One that has closed its answers is about to end, with a code worth knowing."""
        if self._process.returncode is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S if self._has_closed() else 0)
            self._kill_group()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):  # unsent bytes for a dead process
                stream.close()
        log_lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if self._log else []
        return Exit(self._process.returncode, log_lines[-1][:300] if log_lines else "")

    def _has_closed(self) -> bool:
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def answers(processes: Sequence[Process], each_s: float = math.inf, all_s: float = math.inf) -> Iterator[Message]:
    """Yields what the workers send, until each has said that it is done.

    Raises the first error of ours that one reports, OutOfTime where one answer, or all, take longer, and Lost.
    """
    deadline, working = time.monotonic() + all_s, list(processes)
    lost: Lost | None = None
    while working:
        left = min(each_s, deadline - time.monotonic())
        ready = [process for process in working if process.has_unread]
        ready = ready or select.select(working, [], [], 0 if lost else max(left, 0))[0]
        if not ready:
            raise lost or OutOfTime(f"took longer than {min(each_s, all_s):g} s", working[0])
        for process in ready:
            try:
                header, payload = process.receive(left)
            except Lost as error:  # perhaps because of what another one has already reported
                lost = lost or error
                working.remove(process)
                continue
            if "error" in header:
                raise _error(header)
            if "done" in header:
                working.remove(process)
            else:
                yield header, payload
    if lost:
        raise lost


def _error(header: Mapping[str, object]) -> Exception:
    """The error that a worker reports. One that was taken over chooses among those that take a message, and no other class."""
    known = {kind.__name__: kind for kind in (UsageError, DataError, EnvironmentFailed)}
    return known.get(str(header["error"]), EnvironmentFailed)(str(header.get("text", "")))
