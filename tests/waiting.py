"""How tests wait: for a condition, never for a time. The only place in tests/ that reads a clock (test_clocks.py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 1500.0
"""Beyond any machine's slowness, below pytest's own limit: what takes this long will never happen."""


def wait_until(condition: Callable[[], object], what: str, every_s: float = 0.01) -> None:
    """The condition holds; AssertionError, naming `what` was waited for, when it never comes to hold."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, f"waited {LIMIT_S:g} s in vain until {what}"
        time.sleep(every_s)


def wait_for(look: Callable[[], T], what: str, every_s: float = 1.0) -> T:
    """What the look finds, as soon as that is something; AssertionError, naming `what`, when it never is."""
    found: list[T] = []
    wait_until(lambda: found.append(look()) or found[-1], what, every_s)
    return found[-1]
