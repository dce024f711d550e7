"""What the process that reads crafted files and its parent say to each other: isolated_worker.py and isolated.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NotRequired, TypedDict


class Query(TypedDict):
    """What the parent asks of a file: its rows, or the media in some of them."""

    want: Literal["rows", "media"]
    column: NotRequired[str]
    rows: NotRequired[list[int]]
    """1-based."""


class Request(Query):
    """The same with the file, and the limits on reading it."""

    path: str
    format: str
    """A file ending."""
    memory_mb: int
    manifest_mb: float
    file_mb: float


class Head(TypedDict):
    """What is said of a file before its rows."""

    rows: int
    columns: list[str]
    inline: list[bool]
    """Columns whose cells are media."""
    classes: dict[str, list[str]]
    notes: NotRequired[list[str]]


class RowBatch(TypedDict):
    """Some rows, in their order."""

    batch: Sequence[Sequence[Any] | str]
    """The cells as JSON; of a row that cannot be read, why."""
    numbers: NotRequired[list[int]]
    """1-based; else the rows follow those before."""


class MediaBatch(TypedDict):
    """Media, whose bytes follow each other in the payload."""

    numbers: list[int]
    sizes: list[int]


class Alive(TypedDict):
    """Nothing yet, but the process is at it."""

    samples: int


Send = Callable[[Head | RowBatch | MediaBatch | Alive, bytes], None]
