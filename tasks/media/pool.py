"""A pool of decoding processes. A file that crashes, hangs or balloons its worker costs that one file.

Each worker gets a batch in one message and answers file by file. When it dies, or is killed for taking too long, the
file it was at is to blame; the rest of the batch goes to its successor.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.refs import Modality
from tasks.errors import EnvironmentFailed
from tasks.media.wire_protocol import pack, unpack

BATCH = 32
TRANSIENT = ("decoder-", "changed-")
"""Reasons that another try may not give."""
_INLINE_BYTES = 16 << 20  # a batch is closed when its inline bytes exceed this
_START_S = 300.0  # a busy machine takes its time to import
_END_S = 10.0  # and to bury a process that has closed its answers
WORKER = (sys.executable, "-P", "-m", "tasks.media.worker")
_ROOT = str(Path(__file__).resolve().parents[2])  # where the worker finds `tasks`, installed or not
_KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")


@dataclass(frozen=True)
class Job:
    """One medium to decode: a real path, or the bytes themselves."""

    modality: Modality
    sha256: str
    path: str | None = None
    inline: bytes = b""


@dataclass(frozen=True)
class Decoded:
    """What became of a job: `digest`, `shape`, `data` and so on, or `reason` and `detail`."""

    job: Job
    header: dict[str, Any]
    data: bytes

    @property
    def transient(self) -> bool:
        """True where another try may end differently, so that the outcome must not be kept."""
        return str(self.header.get("reason", "")).startswith(TRANSIENT)


class _TookTooLong(Exception):
    """No answer within the time for one file."""


class _Worker:
    """One decoding process, started when first needed."""

    def __init__(self, limits: dict[str, Any], command: Sequence[str]) -> None:
        self.limits = limits
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process, if none runs, and waits until it is ready. Raises EnvironmentFailed."""
        if self.process is not None:
            return
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        paths = [_ROOT, *filter(None, [environment.get("PYTHONPATH")])]
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=0,  # Ctrl-C is for the parent, which then ends its workers
        )
        try:
            self.send(pack({"limits": self.limits}))
            self.receive(_START_S)
        except (EOFError, BrokenPipeError, _TookTooLong) as error:
            how = "no answer" if isinstance(error, _TookTooLong) else self.stop()
            self.stop()
            raise EnvironmentFailed(
                f"the decoding process does not start ({how}); see why with: python -m tasks.media.worker < /dev/null"
            ) from None

    def send(self, message: bytes) -> None:
        """The process gets a whole message. OSError where it has died."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(message)
        self.process.stdin.flush()

    def receive(self, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """The next answer; EOFError when the process died, _TookTooLong when it did not answer in time."""
        assert self.process is not None
        assert self.process.stdout is not None
        handle, deadline = self.process.stdout.fileno(), time.monotonic() + timeout_s

        def read(size: int) -> bytes:
            """Exactly so many bytes. Raises as above."""
            chunks, missing = [], size
            while missing:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([handle], [], [], left)[0]:
                    raise _TookTooLong
                chunk = os.read(handle, min(missing, 1 << 20))
                if not chunk:
                    raise EOFError
                chunks.append(chunk)
                missing -= len(chunk)
            return b"".join(chunks)

        return unpack(read)

    def kill(self) -> None:
        """Ends the process at once; from another thread, too: the one that waits for it sees the end of its answers."""
        process = self.process
        if process is not None:
            process.kill()

    def stop(self) -> str:
        """Kills the process and says how it had ended."""
        if self.process is None:
            return ""
        process, self.process = self.process, None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S if process.stdout is not None and _ended(process.stdout.fileno()) else 0)
        process.kill()
        code = process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # unsent bytes for a dead process
                    stream.close()
        return f"signal {-code}" if code < 0 else f"exit {code}"


def _ended(handle: int) -> bool:
    """True when the other side has closed the pipe: the process is about to be gone, with a code worth knowing."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def decode_all(
    jobs: Iterable[Job], limits: dict[str, Any], workers: int, command: Sequence[str] = WORKER
) -> Generator[Decoded, None, None]:
    """Yields every job's outcome, in no fixed order. EnvironmentFailed when decoding processes cannot run at all.

    Closing the iterator ends all processes at once. What goes wrong in `jobs` itself is raised here.
    """
    todo: queue.Queue[list[Job] | None] = queue.Queue(maxsize=2 * workers)
    done: queue.Queue[Decoded | None] = queue.Queue(maxsize=4 * BATCH * workers)
    stopping = threading.Event()
    crew = [_Worker(limits, command) for _ in range(workers)]
    with ThreadPoolExecutor(workers + 1, thread_name_prefix="decode") as threads:
        futures = [threads.submit(_serve, worker, todo, done, stopping) for worker in crew]
        futures.append(threads.submit(_feed, jobs, todo, workers, stopping))
        running = workers
        try:
            while running:
                outcome = done.get()
                if outcome is None:
                    running -= 1
                else:
                    yield outcome
        finally:
            stopping.set()
            _drain(todo, done, futures, crew)
    for future in futures:
        future.result()


def _feed(jobs: Iterable[Job], todo: queue.Queue[list[Job] | None], workers: int, stopping: threading.Event) -> None:
    try:
        for batch in _batches(jobs):
            if stopping.is_set():
                break
            todo.put(batch)
    finally:
        for _ in range(workers):
            todo.put(None)


def _batches(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Runs of jobs, bounded in number and in inline bytes."""
    group: list[Job] = []
    size = 0
    for job in jobs:
        group.append(job)
        size += len(job.inline)
        if len(group) >= BATCH or size >= _INLINE_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _serve(
    worker: _Worker,
    todo: queue.Queue[list[Job] | None],
    done: queue.Queue[Decoded | None],
    stopping: threading.Event,
) -> None:
    try:
        while not stopping.is_set() and (batch := todo.get()) is not None:
            while batch and not stopping.is_set():
                batch = _work_through(worker, batch, done, stopping)
    except EnvironmentFailed:
        stopping.set()  # what keeps one worker from starting keeps the others, too
        raise
    finally:
        worker.stop()
        done.put(None)


def _work_through(
    worker: _Worker, batch: list[Job], done: queue.Queue[Decoded | None], stopping: threading.Event
) -> list[Job]:
    """Sends a batch and passes on the answers; returns what a successor must do when the worker is lost."""
    timeout_s = float(worker.limits["timeout_s"])
    answered = 0
    worker.start()
    try:
        worker.send(_message(batch))
        for job in batch:
            header, data = worker.receive(timeout_s)
            done.put(Decoded(job, header, data))
            answered += 1
    except _TookTooLong:
        worker.stop()
        header = {"reason": "decoder-timeout", "detail": f"took longer than media.timeout_s = {timeout_s:g}"}
    except (EOFError, BrokenPipeError):
        header = {"reason": "decoder-crashed", "detail": f"the decoding process died ({worker.stop()})"}
    else:
        return []
    if not stopping.is_set():  # else it was we who ended the process
        done.put(Decoded(batch[answered], header, b""))
    return batch[answered + 1 :]


def _message(batch: list[Job]) -> bytes:
    jobs = [
        {"modality": job.modality, "sha256": job.sha256}
        | ({"path": job.path} if job.path else {"size": len(job.inline)})
        for job in batch
    ]
    return pack({"jobs": jobs}, b"".join(job.inline for job in batch))


def _drain(
    todo: queue.Queue[Any], done: queue.Queue[Any], futures: Sequence[Future[None]], crew: Sequence[_Worker]
) -> None:
    """Lets every thread end: none may stay blocked on a process, or on a full or an empty queue."""
    while not all(future.done() for future in futures):
        for worker in crew:
            worker.kill()
        for waiting in (todo, done):
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
        with contextlib.suppress(queue.Full):
            for _ in crew:
                todo.put_nowait(None)
        time.sleep(0.005)
