"""One thread that answers the rows of all requests, some together: a batch of eight costs little more than one row."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from flows.serving.limits import Limits
from flows.serving.prediction import Prediction
from flows.serving.predictor import Predictor, PreparedRow


@dataclass(frozen=True)
class _PendingRequest:
    predictor: Predictor
    rows: Sequence[PreparedRow]
    answers: Future[list[Prediction]]


class Batcher:
    """A queue and its thread; `close` ends them."""

    def __init__(self, limits: Limits, pending: Callable[[], int], batched: Callable[[int], None]) -> None:
        """`pending` tells how many requests are under way; `batched` receives the rows of every batch."""
        self._limits, self._pending, self._batched = limits, pending, batched
        self._queue: queue.SimpleQueue[_PendingRequest | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, predictor: Predictor, rows: Sequence[PreparedRow], answers: Future[list[Prediction]]) -> None:
        """The rows are on their way into a batch; `answers` will hold what comes of them."""
        self._queue.put(_PendingRequest(predictor, rows, answers))

    def close(self) -> None:
        """The thread has ended; what was asked before is answered."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._answer_next():
            pass

    def _answer_next(self) -> bool:
        """Waits for requests and answers them; whether more may come.

        Of its own, so that this thread, while it waits, holds no model that another has replaced.
        """
        first = self._queue.get()
        if first is None:
            return False
        batch, ended = self._collect(first)
        for predictor in {id(asked.predictor): asked.predictor for asked in batch}.values():
            self._answer(predictor, [asked for asked in batch if asked.predictor is predictor])
        return not ended

    def _collect(self, first: _PendingRequest) -> tuple[list[_PendingRequest], bool]:
        """Requests to answer together: waits a moment for those that are under way, and not where there are none."""
        batch, rows = [first], len(first.rows)
        until = time.monotonic() + self._limits.batch_wait_ms / 1000
        while rows < self._limits.batch_rows:
            left = until - time.monotonic() if self._pending() > len(batch) else 0.0
            try:
                asked = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if asked is None:
                return batch, True
            batch.append(asked)
            rows += len(asked.rows)
        return batch, False

    def _answer(self, predictor: Predictor, batch: Sequence[_PendingRequest]) -> None:
        batch = [asked for asked in batch if asked.answers.set_running_or_notify_cancel()]
        try:
            answers = iter(predictor.answer([row for asked in batch for row in asked.rows]))
        except Exception as error:  # noqa: BLE001 (whatever it is, who asked gets an answer)
            if len(batch) == 1:
                batch[0].answers.set_exception(error)
            for asked in batch if len(batch) > 1 else ():  # one request's rows must not cost the others their answers
                self._answer_by_itself(predictor, asked)
            return
        self._batched(sum(len(asked.rows) for asked in batch))
        for asked in batch:
            asked.answers.set_result([next(answers) for _ in asked.rows])

    def _answer_by_itself(self, predictor: Predictor, asked: _PendingRequest) -> None:
        try:
            asked.answers.set_result(predictor.answer(asked.rows))
        except Exception as error:  # noqa: BLE001 (as above)
            asked.answers.set_exception(error)
