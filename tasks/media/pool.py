"""A pool of decoding processes. A file that crashes, hangs or balloons its worker costs that one file.

Each worker gets a batch in one message and answers file by file. When it dies, or is killed for taking too long, the
file it was at is the cause; the rest of the batch goes to its successor. Contents of cells, which are short, are answered
together: a message each takes longer than they do. Where that fails they are asked for one by one.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypedDict, TypeVar, cast

from data_contracts.refs import IN_CELLS, Modality
from tasks.errors import EnvironmentFailed
from tasks.isolation.process import Lost, OutOfTime, Process, bare_environment, command_of
from tasks.isolation.wire_protocol import Message
from tasks.media.pool_queues import ListQueue, drain
from tasks.modalities import Params

T = TypeVar("T")
BATCH = 32
TOGETHER = 512
"""Contents of cells in a batch."""
TRANSIENT = ("decoder-", "changed-")
"""Reasons that another try may not give."""
_INLINE_BYTES = 16 << 20  # a batch is closed when its inline bytes exceed this
_TOGETHER_BYTES = 1 << 20
"""Of contents that are answered together, which takes milliseconds."""
_TOGETHER_S = 5.0
"""After which they are asked for one by one, so that one that hangs does not keep the others for all of media.timeout_s."""
_SHARE = 4
"""Fewer media than this are not worth another process."""
MODULE = "tasks.media.worker"
WORKER = command_of(MODULE)


@dataclass(frozen=True)
class Job:
    """One medium to decode: a real path, or the bytes themselves."""

    modality: Modality
    sha256: str
    path: str | None = None
    inline: bytes = b""


class JobMessage(TypedDict):
    """A job as the worker gets it."""

    modality: Modality
    sha256: str
    path: str | None
    """None: its bytes are in the payload."""
    size: int
    """Bytes of it in the payload."""


class Answers(TypedDict):
    """What a worker says of a batch that it answers together."""

    outcomes: list[Outcome]
    sizes: list[int]
    """Bytes of each one's data in the payload."""


class Outcome(TypedDict, total=False):
    """What a worker says of a job: the first four with its data, or the last two."""

    digest: str
    shape: list[int]
    rate_hz: int | None
    warning: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Decoded:
    """What became of a job."""

    job: Job
    header: Outcome
    data: bytes

    @property
    def transient(self) -> bool:
        """True where another try may end differently, so that the outcome must not be kept."""
        return str(self.header.get("reason", "")).startswith(TRANSIENT)


class _Worker:
    """One decoding process, started when first needed, and again after it was lost."""

    def __init__(self, limits: Params, command: Sequence[str]) -> None:
        self.limits = limits
        self._command = command
        self._process: Process | None = None

    @property
    def runs(self) -> bool:
        """Whether it was started, and not lost since."""
        return self._process is not None

    def start(self) -> Process:
        """The process, ready. Raises EnvironmentFailed where it does not start."""
        if self._process is None:
            self._process = Process(self._command, bare_environment())
            self._process.begin({"limits": self.limits}, "decodes media", MODULE)
        return self._process

    def kill(self) -> None:
        """Ends the process at once, from another thread: the one that waits for it sees the end of its answers."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> str:
        """The process is gone; says how it ended."""
        process, self._process = self._process, None
        return "" if process is None else str(process.stop())


def decode_all(
    jobs: Iterable[Job], limits: Params, workers: int, command: Sequence[str] = WORKER
) -> Generator[Decoded, None, None]:
    """Yields every job's outcome, in no fixed order. EnvironmentFailed when decoding processes cannot run at all.

    Closing the iterator ends all processes at once. What goes wrong in `jobs` itself is raised here.
    """
    todo: queue.Queue[list[Job] | None] = queue.Queue(maxsize=2 * workers)
    done: ListQueue[Decoded] = ListQueue(maxsize=4 * BATCH * workers)
    stopping = threading.Event()
    crew = [_Worker(limits, command) for _ in range(workers)]
    with ThreadPoolExecutor(workers + 1, thread_name_prefix="decode") as threads:
        futures = [threads.submit(_serve, worker, todo, done, stopping) for worker in crew]
        futures.append(threads.submit(_feed, jobs, todo, workers, stopping))
        running = workers
        try:
            while running:
                outcomes = done.get()
                if outcomes is None:
                    running -= 1
                else:
                    yield from outcomes
        finally:
            stopping.set()
            drain((todo, done), futures, crew)
    for future in futures:
        future.result()


class Decoders:
    """Decoding processes that stay, for media that come a few at a time; safe among threads.

    They are started by threads of their own: Linux ends a worker with the thread that started it, not with the process. Who
    asks for few media waits for them itself: to hand them to a thread, and back, costs more than to decode a small one.
    """

    def __init__(self, limits: Params, workers: int, command: Sequence[str] = WORKER) -> None:
        self._crew = [_Worker(limits, command) for _ in range(workers)]
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for worker in self._crew:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decoder")
        self._starting = ThreadPoolExecutor(workers, thread_name_prefix="decoder-start")
        self._never = threading.Event()

    def start(self) -> None:
        """Every process is ready. Raises EnvironmentFailed where one does not start."""
        for future in [self._starting.submit(worker.start) for worker in self._crew]:
            future.result()

    def decode(self, jobs: Sequence[Job], then: Callable[[int, Decoded], T]) -> list[T]:
        """What `then` makes of each job's number and outcome, in their order; waits for its turn.

        It is called by several threads, for a medium while the next ones are decoded. Raises EnvironmentFailed where no process
        starts.
        """
        size = max(_SHARE, -(-len(jobs) // len(self._crew)))
        if len(jobs) <= size:
            return self._run(jobs, 0, then) if jobs else []
        starts = range(0, len(jobs), size)
        futures = [self._threads.submit(self._run, jobs[start : start + size], start, then) for start in starts]
        return [found for future in futures for found in future.result()]

    def _require_running(self, worker: _Worker) -> None:
        """Its process runs. Raises EnvironmentFailed where it does not start."""
        if not worker.runs:
            starting = self._starting.submit(worker.start)
            try:
                starting.result()
            finally:
                wait([starting])  # also where who asked is interrupted: nobody else may have the worker meanwhile

    def close(self) -> None:
        """Every process is gone, once it has answered what it was asked."""
        self._threads.shutdown()
        crew = [self._idle.get() for _ in self._crew]
        self._starting.shutdown()
        for worker in crew:
            worker.stop()
            self._idle.put(worker)  # who asks all the same is refused by what would start it, and does not wait

    def _run(self, jobs: Sequence[Job], first: int, then: Callable[[int, Decoded], T]) -> list[T]:
        worker = self._idle.get()
        done: list[T] = []

        def keep(outcomes: Sequence[Decoded]) -> None:
            """The next ones."""
            for outcome in outcomes:
                done.append(then(first + len(done), outcome))

        try:
            for batch in _batches(jobs):
                rest = batch
                while rest:
                    self._require_running(worker)
                    rest = _work_through(worker, rest, keep, self._never)
        except BaseException:
            worker.stop()  # what it has not answered yet must not be taken for the answer to what comes next
            raise
        finally:
            self._idle.put(worker)
        return done


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
        most = TOGETHER if job.path is None and job.modality in IN_CELLS else BATCH
        if len(group) >= most or size >= (_INLINE_BYTES if most == BATCH else _TOGETHER_BYTES):
            yield group
            group, size = [], 0
    if group:
        yield group


def _serve(
    worker: _Worker,
    todo: queue.Queue[list[Job] | None],
    done: ListQueue[Decoded],
    stopping: threading.Event,
) -> None:
    try:
        while not stopping.is_set() and (batch := todo.get()) is not None:
            while batch and not stopping.is_set():
                batch = _work_through(worker, batch, done.put, stopping)
    except EnvironmentFailed:
        stopping.set()  # what keeps one worker from starting keeps the others, too
        raise
    finally:
        worker.stop()
        done.put(None)


def _work_through(
    worker: _Worker, batch: list[Job], done: Callable[[list[Decoded]], None], stopping: threading.Event
) -> list[Job]:
    """Sends a batch and passes on the answers; returns what a successor must do when the worker is lost."""
    timeout_s = float(worker.limits["timeout_s"])
    if len(batch) > 1 and all(job.path is None and job.modality in IN_CELLS for job in batch):
        try:
            answers = _ask_together(worker, batch, min(timeout_s, _TOGETHER_S))
        except Lost:
            worker.stop()
            if stopping.is_set():
                return []
        else:
            done(answers)
            return []
    answered = 0
    process = worker.start()
    try:
        process.send(*_message(batch))
        for job in batch:
            header, data = process.receive(timeout_s)
            done([Decoded(job, cast(Outcome, header), data)])
            answered += 1
    except OutOfTime:
        worker.stop()
        lost_at: Outcome = {"reason": "decoder-timeout", "detail": f"took longer than media.timeout_s = {timeout_s:g}"}
    except Lost as lost:
        lost_at = {"reason": "decoder-crashed", "detail": f"the decoding process {lost} ({worker.stop()})"}
    else:
        return []
    if not stopping.is_set():  # else it was we who ended the process
        done([Decoded(batch[answered], lost_at, b"")])
    return batch[answered + 1 :]


def _ask_together(worker: _Worker, batch: list[Job], timeout_s: float) -> list[Decoded]:
    """The outcomes of a batch. Raises Lost where the worker does not answer all of it, as one bad cell keeps it from."""
    process = worker.start()
    jobs, payload = _message(batch)
    process.send({**jobs, "together": True}, payload)
    header, data = process.receive(timeout_s)
    answers = cast(Answers, header)
    ends = [0, *itertools.accumulate(answers["sizes"])]
    if len(answers["outcomes"]) != len(batch) or len(ends) != len(batch) + 1 or ends[-1] != len(data):
        raise Lost("gave a broken answer", process)
    cells = zip(batch, answers["outcomes"], ends, ends[1:], strict=False)
    return [Decoded(job, outcome, data[start:end]) for job, outcome, start, end in cells]


def _message(batch: list[Job]) -> Message:
    jobs: list[JobMessage] = [
        {
            "modality": job.modality,
            "sha256": job.sha256,
            "path": job.path or None,
            "size": 0 if job.path else len(job.inline),
        }
        for job in batch
    ]
    return {"jobs": jobs}, b"".join(job.inline for job in batch if not job.path)
