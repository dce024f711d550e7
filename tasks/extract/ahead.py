"""Pictures and frames scaled on every core, ahead of what takes them in: Pillow leaves the interpreter free meanwhile."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from tasks.devices import usable_cores
from tasks.modalities import Prepare

AHEAD = 4
"""Media in work for each core: what waits is bounded."""


def prepare_ahead(prepare: Prepare, media: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """Digest and prepared medium, in their order. Raises what `prepare` raises, where its medium's turn has come."""
    workers, most = _workers()
    waiting: deque[tuple[str, Future[np.ndarray]]] = deque()
    try:
        for digest, medium in media:
            waiting.append((digest, workers.submit(prepare, medium, 0)))
            if len(waiting) == most:
                first, prepared = waiting.popleft()
                yield first, prepared.result()
        while waiting:
            first, prepared = waiting.popleft()
            yield first, prepared.result()
    finally:
        for _, prepared in waiting:
            prepared.cancel()


@functools.cache
def _workers() -> tuple[ThreadPoolExecutor, int]:
    """The threads of this process, shared by all shards, and how many media may wait."""
    count = usable_cores()
    return ThreadPoolExecutor(count, "prepare"), AHEAD * count
