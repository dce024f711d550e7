"""Batches prepared by a background thread while the device works on the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")
DEPTH = 2  # batches that wait ready: one would do if all took the same time


def ahead(items: Iterator[T], depth: int = DEPTH) -> Generator[T, None, None]:
    """The same items in the same order, made up to `depth` ahead in a thread of their own.

    An error in the making is raised here. The thread ends when this iterator is exhausted or closed.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> bool:
        """True when the entry is in the queue; False when the consumer has stopped before there was room."""
        while not stopped.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        """The thread's work: every item, then the end or the error, is in the queue; less if the consumer stops."""
        try:
            for item in items:
                if not put((item, None, False)):
                    return
        except BaseException as error:  # noqa: BLE001 (it is raised again where the items are used)
            put((None, error, False))
            return
        put((None, None, True))

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error, done = waiting.get()
            if error is not None:
                raise error
            if done:
                return
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()
