"""What long work says of itself, without knowing who listens: progress for a bar, and lines for the run's log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

Listener = Callable[[str, int, int, str], None]
"""Called with the step's name, how much is done, how much there is, and a short message ("" for none)."""
Level = Literal["info", "warning", "notice"]
"""notice: what a person must see at once, whether or not they look at the log."""
LineListener = Callable[[str, Level], None]
"""Called with one line for the run's log."""

_listeners: list[Listener] = []
_line_listeners: list[LineListener] = []


def report(step: str, done: int, total: int, message: str = "") -> None:
    """Every listener knows how far a step is."""
    for listener in tuple(_listeners):
        listener(step, done, total, message)


def log(line: str, level: Level = "info") -> None:
    """Every listener to lines has this one. What it says is worded in tasks/run_log.py."""
    for listener in tuple(_line_listeners):
        listener(line, level)


def note(text: str) -> str:
    """The text as it is: words for people among what is computed, which code fingerprints leave out."""
    return text


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Adds a listener for the length of the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextlib.contextmanager
def listening_to_lines(listener: LineListener) -> Iterator[None]:
    """Adds a listener to the log's lines for the length of the block."""
    _line_listeners.append(listener)
    try:
        yield
    finally:
        _line_listeners.remove(listener)
