"""What long work says of itself, without knowing who listens: progress for a bar, lines for the run's log, epochs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from data_contracts.training_history import Epoch
from tasks.redaction import redact

Listener = Callable[[str, int, int, str], None]
"""Called with the step's name, how much is done, how much there is, and a short message ("" for none)."""
Level = Literal["info", "warning", "notice"]
"""notice: what a person must see at once, whether or not they look at the log."""
LineListener = Callable[[str, Level], None]
"""Called with one line for the run's log."""

EpochListener = Callable[[Epoch], None]
"""Called with every epoch of a training, those of an earlier run that was killed first. What it raises ends the training,
whose state is kept."""

_listeners: list[Listener] = []
_line_listeners: list[LineListener] = []
_epoch_listeners: list[EpochListener] = []


def report(step: str, done: int, total: int, message: str = "") -> None:
    """Every listener knows how far a step is."""
    message = redact(message)
    for listener in tuple(_listeners):
        listener(step, done, total, message)


def log(line: str, level: Level = "info") -> None:
    """Every listener to lines has this one, without credentials. What it says is worded in tasks/run_log.py."""
    line = redact(line)
    for listener in tuple(_line_listeners):
        listener(line, level)


def report_epochs(epochs: Iterable[Epoch]) -> None:
    """Every listener to epochs has heard of these."""
    for epoch in epochs:
        for listener in tuple(_epoch_listeners):
            listener(epoch)


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


@contextlib.contextmanager
def listening_to_epochs(listener: EpochListener) -> Iterator[None]:
    """Adds a listener to the epochs of training for the length of the block."""
    _epoch_listeners.append(listener)
    try:
        yield
    finally:
        _epoch_listeners.remove(listener)
