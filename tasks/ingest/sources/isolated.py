"""Parquet, Arrow, Excel, tar and XML become rows, and the media in them bytes, by way of a process of its own with limits."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from pydantic import BaseModel

from tasks.errors import DataError
from tasks.ingest.manifest.rows import Inline, Manifest, Row
from tasks.ingest.sources.isolated_messages import MediaBatch, Query, Request, RowBatch
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.streams import format_of
from tasks.isolation.process import Lost, OutOfTime, Process, TooLarge, answers, bare_environment, command_of
from tasks.isolation.wire_protocol import Message

MODULE = "tasks.ingest.sources.isolated_worker"
WORKER = command_of(MODULE)
FORMATS: Mapping[str, str] = MappingProxyType(
    {
        ".parquet": "Parquet",
        ".arrow": "Arrow",
        ".feather": "Arrow",
        ".xlsx": "an Excel workbook",
        ".tar": "a tar archive",
        ".xml": "CVAT's annotations",
    }
)
"""File endings of what is read in a process of its own, with the name of each."""
HELD_ROWS = 10_000
"""A file of more rows is read by a second process, row by row: most are small, and a process takes a fraction of a second."""


def open_isolated(path: Path, limits: ReadLimits) -> Manifest:
    """The rows of such a file; a medium in it is its digest. DataError for one that cannot be read whole.

    Up to HELD_ROWS rows are read at once. Those of a larger file are read as they are asked for, by another process, and what
    is damaged in them is found then.
    """
    with contextlib.closing(_converse(path, {"want": "rows"}, limits)) as messages:
        head = _read_head(messages, path)
        repeated = [name for name, count in Counter(head.columns).items() if count > 1]
        if repeated:
            raise DataError(f"manifest {path}: column {repeated[0]!r} appears twice; rename one")
        held = list(_read_rows(messages, head, path)) if head.rows <= HELD_ROWS else None
    notes = head.notes + tuple(
        f"classes of {column!r} by the names in its schema: {', '.join(known[:5])}{' …' if len(known) > 5 else ''}"
        for column, known in head.classes.items()
        if column in head.columns
    )
    rows = _read_again(path, limits, head) if held is None else iter(held)
    return Manifest(path, path.parent, head.columns, rows, notes, count=head.rows)


class _Head(BaseModel, frozen=True, extra="ignore"):
    """What the process says of a file before its rows."""

    rows: int
    columns: tuple[str, ...]
    inline: tuple[bool, ...]
    """Columns whose cells are media."""
    classes: dict[str, list[str]]
    notes: tuple[str, ...] = ()


def _read_head(messages: Iterator[Message], path: Path) -> _Head:
    try:
        header = next(header for header, _ in messages if "columns" in header)  # before it some say that they are at it
    except DataError as error:
        raise DataError(f"manifest {path}: not readable as {FORMATS[format_of(path.name)]} ({error})") from None
    head = _Head.model_validate(header)
    if head.rows == 0:
        raise DataError(f"manifest {path}: the file holds no rows")
    return head


def _read_rows(messages: Iterator[Message], head: _Head, path: Path) -> Iterator[Row]:
    done = 0
    try:
        for header, _ in messages:
            rows = cast(RowBatch, header)
            numbers = rows.get("numbers") or range(done + 1, done + 1 + len(rows["batch"]))
            for number, cells in zip(numbers, rows["batch"], strict=True):
                yield _named(_row(number, cells, head), head.classes)
                done += 1
    except DataError as error:
        raise DataError(f"manifest {path}: damaged after row {done} ({error})") from None
    if done != head.rows:
        raise DataError(f"manifest {path}: damaged, it declares {head.rows} rows and holds {done}")


def _read_again(path: Path, limits: ReadLimits, known: _Head) -> Iterator[Row]:
    with contextlib.closing(_converse(path, {"want": "rows"}, limits)) as messages:
        head = _read_head(messages, path)
        if head != known:
            raise DataError(f"manifest {path}: it was changed while it was read; run again")
        yield from _read_rows(messages, head, path)


def _named(row: Row, classes: dict[str, list[str]]) -> Row:
    """The row with class ids replaced by their names, -1 (none) by nothing."""

    def name(cell: Any, names: list[str]) -> Any:
        """The name of an id."""
        if isinstance(cell, list):
            return [name(item, names) for item in cell]
        if not isinstance(cell, int) or isinstance(cell, bool):
            return cell
        return None if cell == -1 else names[cell] if 0 <= cell < len(names) else cell

    named = {column: name(row.values[column], names) for column, names in classes.items() if column in row.values}
    return replace(row, values=row.values | named) if named else row


def _row(number: int, cells: Sequence[Any] | str, head: _Head) -> Row:
    if isinstance(cells, str):
        return Row(number, {}, "unreadable-row", cells)
    held = (
        Inline(cell or None) if holds and cell is not None else cell
        for cell, holds in zip(cells, head.inline, strict=True)
    )
    return Row(number, dict(zip(head.columns, held, strict=True)))


def read_inline(
    path: Path, column: str, rows: set[int], limits: ReadLimits | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yields (row number, bytes) for the wanted 1-based rows of one column of a file. DataError when damaged."""
    query: Query = {"want": "media", "column": column, "rows": sorted(rows)}
    with contextlib.closing(_converse(path, query, limits or ReadLimits())) as messages:
        try:
            for header, payload in messages:
                media, offset = cast(MediaBatch, header), 0
                for number, size in zip(media["numbers"], media["sizes"], strict=True):
                    yield number, payload[offset : offset + size]
                    offset += size
        except DataError as error:
            raise DataError(f"manifest {path}: column {column!r} cannot be read ({error})") from None


def _converse(path: Path, query: Query, limits: ReadLimits) -> Generator[Message, None, None]:
    """Yields the process's answers. DataError says what it found wrong, or that it died or took too long."""
    ending = format_of(path.name)
    request: Request = {
        **query,
        "path": str(path),
        "format": ending,
        "memory_mb": limits.memory_mb,
        "manifest_mb": limits.manifest_mb,
        "file_mb": limits.file_mb,
    }
    reserve_nothing = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}  # of its address space
    with Process(WORKER, bare_environment(**reserve_nothing)) as process:
        process.begin(request, f"reads {FORMATS[ending]}", MODULE)
        try:
            yield from answers([process], each_s=limits.timeout_s)
        except OutOfTime:
            raise DataError(f"its rows took longer than media.timeout_s = {limits.timeout_s:g}") from None
        except TooLarge as lost:
            raise DataError(f"a batch of its rows has {lost.size_bytes} bytes") from None
        except Lost as lost:
            raise DataError(f"the process that read it {lost}; it may need more than media.memory_mb") from None
