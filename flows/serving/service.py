"""What a server does with a request for predictions: admits it, reads it, prepares its rows, has them answered in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from fastapi import Request
from starlette.requests import ClientDisconnect

from data_contracts.explanations import Explanation
from data_contracts.refs import Frozen
from flows.serving.admission import Admission
from flows.serving.batching import Batcher
from flows.serving.bodies import AskedRows, declared_bytes, read_rows, rows_refused
from flows.serving.limits import Limits
from flows.serving.metrics import Metrics
from flows.serving.prediction import Prediction, Refusal
from flows.serving.predictor import Predictor, PreparedRow
from flows.serving.problems import HttpProblem
from flows.serving.rotation import Rotation
from flows.serving.row_media import Row
from tasks.errors import EnvironmentFailed
from tasks.packages import missing_packages_named

_PREPARING = 8
"""Threads that wait for decoders and make features."""


class PredictResponse(Frozen):
    """The answers, in the order of the rows."""

    model: str
    version: str
    predictions: list[Prediction]


class Service:
    """Shared by all requests."""

    def __init__(self, rotation: Rotation, limits: Limits) -> None:
        self.rotation, self.limits = rotation, limits
        self.admission = Admission(limits)
        self.metrics = Metrics(lambda: self.admission.requests)
        self._preparing = ThreadPoolExecutor(_PREPARING, thread_name_prefix="prepare")
        # One at a time, beside the thread that answers: ordinary requests do not wait for it.
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._batcher = Batcher(limits, lambda: self.admission.requests, self.metrics.batch_rows.observe)
        self.ready = True

    def close(self) -> None:
        """Its threads have ended, and the model's processes."""
        self.ready = False
        self._preparing.shutdown()
        self._explaining.shutdown()
        self._batcher.close()
        self.rotation.predictor.close()

    async def predict(self, request: Request) -> PredictResponse:
        """The answers to the rows of a request. Raises HttpProblem."""
        until = time.monotonic() + self.limits.timeout_s
        size = declared_bytes(request, self.limits)
        self.admission.enter(size)
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                asked = await read_rows(request, self.limits)
        except TimeoutError:
            self.admission.leave(size)
            raise HttpProblem(
                408, "body-too-slow", f"the body did not come within {self.limits.timeout_s:g} s"
            ) from None
        except ClientDisconnect:
            self.admission.leave(size)
            raise HttpProblem(400, "broken-body", "the connection ended before the body did") from None
        except BaseException:
            self.admission.leave(size)
            raise
        work = asyncio.ensure_future(self._answer(asked, until))
        work.add_done_callback(lambda done: self._end(done, size))  # not when its time is up: it still takes memory
        try:
            async with asyncio.timeout(until - time.monotonic()):
                return await asyncio.shield(work)
        except TimeoutError:
            raise self._out_of_time() from None

    def _end(self, work: asyncio.Future[PredictResponse], size: int) -> None:
        self.admission.leave(size)
        if not work.cancelled():
            work.exception()  # looked at, also where nobody waits for it any more

    async def _answer(self, asked: AskedRows, until: float) -> PredictResponse:
        rows = asked.rows
        with self.rotation.use() as predictor:
            answers: Future[list[Prediction]] = Future()
            preparing = self._preparing.submit(self._prepare_and_queue, predictor, rows, until, answers)
            try:
                predictions = await asyncio.wrap_future(answers)
                if asked.explain:
                    loop, prepared = asyncio.get_running_loop(), await asyncio.wrap_future(preparing)
                    explained = await loop.run_in_executor(self._explaining, self._explain, predictor, prepared, until)
                    pairs = zip(predictions, explained, strict=True)
                    predictions = [one.model_copy(update={"explanation": why}) for one, why in pairs]
            except EnvironmentFailed as error:
                raise HttpProblem(503, "unavailable", str(error), headers={"Retry-After": "5"}) from None
        self.metrics.rows.labels("answered").inc(len(rows))
        return PredictResponse(model=predictor.name, version=predictor.version, predictions=predictions)

    def _prepare_and_queue(
        self, predictor: Predictor, rows: Sequence[Row], until: float, answers: Future[list[Prediction]]
    ) -> list[PreparedRow]:
        """The rows are prepared, and on their way into a batch: the loop that waits for the answers is woken once, by them."""
        try:
            prepared = self._prepare(predictor, rows, until)
        except BaseException as error:
            if answers.set_running_or_notify_cancel():
                answers.set_exception(error)
            raise
        self._batcher.submit(predictor, prepared, answers)
        return prepared

    def _prepare(self, predictor: Predictor, rows: Sequence[Row], until: float) -> list[PreparedRow]:
        if time.monotonic() > until:
            raise self._out_of_time()
        prepared = predictor.prepare(rows)
        refused = [row for row in prepared if isinstance(row, Refusal)]
        if refused:
            self.metrics.rows.labels("refused").inc(len(refused))
            raise rows_refused(refused, len(rows))
        return [row for row in prepared if isinstance(row, PreparedRow)]

    def _explain(self, predictor: Predictor, rows: Sequence[PreparedRow], until: float) -> list[Explanation]:
        if time.monotonic() > until:  # it waited for explanations before it
            raise self._out_of_time()
        with missing_packages_named():
            return predictor.explain(rows)

    def _out_of_time(self) -> HttpProblem:
        return HttpProblem(504, "out-of-time", f"no answer within {self.limits.timeout_s:g} s; send fewer rows")
