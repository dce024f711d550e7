"""A suite over a large table runs in a process of its own: what pandas and Great Expectations hold goes back with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec

from tasks.errors import EnvironmentFailed
from tasks.validate.results import SuiteResult

LARGE_ROWS = 200_000
"""From here on a frame takes more memory than a second import of Great Expectations takes time."""
P = ParamSpec("P")


def run_check(rows: int, check: Callable[P, SuiteResult], *arguments: P.args, **named: P.kwargs) -> SuiteResult:
    """What `check`, a function of a module, returns for these arguments, which must be picklable.

    EnvironmentFailed where the process of a large table dies: most likely the system ended it for want of memory.
    """
    if rows < LARGE_ROWS:
        return check(*arguments, **named)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(check, *arguments, **named).result()
        except BrokenProcessPool:
            raise EnvironmentFailed(
                f"the process that validated {rows:,} rows died; it may need more memory than there is: free some, or run "
                "with --set data.max_rows=N"
            ) from None
