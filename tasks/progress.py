"""Progress of long work, without knowing who watches: stages report, the CLI or Prefect listens."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Listener = Callable[[str, int, int, str], None]
"""Called with the step's name, how much is done, how much there is, and a short remark ("" for none)."""

_listeners: list[Listener] = []


def report(step: str, done: int, total: int, remark: str = "") -> None:
    """Tells every listener how far a step is."""
    for listener in tuple(_listeners):
        listener(step, done, total, remark)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Adds a listener for the length of the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
