"""Work on a large table runs in a process of its own: the memory that it takes goes back to the system with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

import pyarrow as pa

from tasks.errors import EnvironmentFailed

LARGE_ROWS = 200_000
"""From here on a table takes more memory than another start of Python, with its imports, takes time."""
P = ParamSpec("P")
Result = TypeVar("Result")


def run_apart(rows: int, done: str, work: Callable[P, Result], *arguments: P.args, **named: P.kwargs) -> Result:
    """What `work`, a function of a module, returns for these arguments, which must be picklable, as its result must.

    `done`: what it has done, and to how many of what, as an error says it. EnvironmentFailed where the process of a large
    table dies: most likely the system ended it for want of memory.
    """
    if rows < LARGE_ROWS:
        return work(*arguments, **named)
    pa.default_memory_pool().release_unused()  # what the stages before have left, too
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments, **named).result()
        except BrokenProcessPool:
            raise EnvironmentFailed(
                f"the process that {done} died; it may need more memory than there is: free some, or run "
                "with --set data.max_rows=N"
            ) from None
