"""The queues between the threads of the decoding pool."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class ListQueue(queue.Queue[list[T] | None]):
    """Lists, and None from each thread that has ended; `maxsize` counts what the lists hold."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._held = 0

    def _qsize(self) -> int:
        return self._held

    def _put(self, item: list[T] | None) -> None:
        super()._put(item)
        self._held += 1 if item is None else len(item)

    def _get(self) -> list[T] | None:
        item = super()._get()
        self._held -= 1 if item is None else len(item)
        return item


class Killed(Protocol):
    """Whose process can be ended from another thread."""

    def kill(self) -> None:
        """Ends it at once."""


def drain(queues: Sequence[queue.Queue[Any]], futures: Sequence[Future[None]], crew: Sequence[Killed]) -> None:
    """Lets every thread end: none may stay blocked on a process, or on a full or an empty queue; the first queue ends those
    that read it."""
    while not all(future.done() for future in futures):
        for worker in crew:
            worker.kill()
        for waiting in queues:
            with contextlib.suppress(queue.Empty):
                while True:
                    waiting.get_nowait()
        with contextlib.suppress(queue.Full):
            for _ in crew:
                queues[0].put_nowait(None)
        time.sleep(0.005)
