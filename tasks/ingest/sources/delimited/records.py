"""Lines become records. What quotation marks mean is decided line by line, and every doubt is counted with its line.

A line without a quotation mark is split at the delimiter. One with some is read, in this order, as RFC 4180 has it (a
cell in quotation marks may hold delimiters and line breaks), with a backslash before a quotation mark as an escape, and
with quotation marks as part of the text: the first reading that gives as many cells as the header has is taken. A quoted
cell over several lines, each of which is a row by itself, is ambiguous: `Policy` says which it is.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

FIELD_CHARS = 64 << 20
"""Largest cell: a text given in it, never a limit that a sane file meets."""
_SPAN_LINES = 10_000
"""A quoted cell over more lines than this is a quotation mark that nobody closed."""
NULL = r"\N"
"""A cell without a value, as the dumps of MySQL, PostgreSQL and Hive write it."""
Reading = Literal["plain", "quoted", "several lines", "ambiguous", "escaped", "literal", "ragged"]
"""How a record was read. plain, quoted: every reading agrees, or RFC 4180 is the only one that fits."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are separated and quoted."""

    delimiter: str
    skip_spaces: bool = False
    """Spaces after a delimiter are no part of the cell."""
    quotes: Literal["auto", "minimal", "none"] = "auto"
    """minimal: RFC 4180 and no other reading. none: a quotation mark is a character like any other."""
    escapes: Literal["auto", "backslash", "none"] = "auto"
    """Whether \\" in a quoted cell is a quotation mark; backslash: in every such row, auto: where nothing else fits."""
    ambiguous: Literal["one", "each"] = "one"
    """A quoted cell whose lines are all rows by themselves: one row, or each line a row."""
    quote: str = '"'
    """What a quotation mark is."""
    header: tuple[str, ...] = ()
    """Names of the columns, where no line of the file names them."""


class Record(NamedTuple):
    """One row of the file."""

    line: int
    """Of its first line, from 1 on."""
    cells: list[str]
    reading: Reading = "plain"
    last_line: int = 0
    """Of a record that is not plain."""
    needs_quotes: bool = False
    """Splitting its lines at every delimiter would give other numbers of cells: the file does quote."""


class _Feed:
    """Lines with their numbers, some of which may be given back."""

    def __init__(self, lines: Iterable[str], first: int) -> None:
        self._lines = iter(lines)
        self._returned: deque[str] = deque()
        self.number = first - 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        """The lines come again."""
        self._returned.extendleft(reversed(lines))
        self.number -= len(lines)


def read_records(lines: Iterable[str], dialect: Dialect, width: int, first: int = 1) -> Iterator[Record]:
    """Every record of the lines, of which the first has the number `first`; empty lines give one without cells.

    `width`: cells of the header. A record with another number of cells is `ragged`.
    """
    csv.field_size_limit(FIELD_CHARS)
    feed = _Feed(lines, first)
    for line in feed:
        if dialect.quote not in line or dialect.quotes == "none":
            cells = split(line, dialect)
            yield Record(feed.number, cells, "plain" if len(cells) in (0, width) else "ragged", feed.number)
        else:
            yield _read_quoted(line, feed, dialect, width)


def split(line: str, dialect: Dialect) -> list[str]:
    """The cells of a line in which quotation marks mean nothing."""
    text = line.rstrip("\r\n")
    if not text:
        return []
    cells = text.split(dialect.delimiter)
    if dialect.skip_spaces and dialect.delimiter == " ":
        return [cell for cell in cells if cell]  # as Python's csv passes over them
    return [cell.lstrip(" ") for cell in cells] if dialect.skip_spaces else cells


def parse(
    line: str, more: Iterable[str], dialect: Dialect, *, escaped: bool = False
) -> tuple[list[str], list[str]] | None:
    """The cells of a record by Python's csv, and the lines that it takes; None where it is no record."""
    taken = [line]

    def lines() -> Iterator[str]:
        """The first line, then as many as the record asks for."""
        yield _keep_nulls(line, dialect) if escaped else line
        for following in more:
            taken.append(following)
            yield _keep_nulls(following, dialect) if escaped else following
            if len(taken) >= _SPAN_LINES:
                return

    reader = csv.reader(
        lines(),
        strict=True,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        skipinitialspace=dialect.skip_spaces,
        escapechar="\\" if escaped else None,
    )
    try:
        return next(reader), taken
    except csv.Error:
        if isinstance(more, _Feed):
            more.give_back(taken[1:])
        return None


def _keep_nulls(line: str, dialect: Dialect) -> str:
    """The line, in which the backslash of a cell NULL is no escape."""
    mark = re.escape(dialect.delimiter)
    return re.sub(rf"(?:(?<=^)|(?<={mark}))\\N(?=[\r\n]|{mark}|$)", r"\\\\N", line) if NULL in line else line


def _parse_line(line: str, dialect: Dialect) -> tuple[list[str], list[str]] | None:
    """As `parse`, of a record on one line: the usual case, at half the time."""
    reader = csv.reader(
        (line,),
        strict=True,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        skipinitialspace=dialect.skip_spaces,
    )
    try:
        return next(reader), [line]
    except csv.Error:
        return None


def _read_quoted(line: str, feed: _Feed, dialect: Dialect, width: int) -> Record:
    start = feed.number
    escapes_first = dialect.escapes == "backslash" and f"\\{dialect.quote}" in line
    if escapes_first and (record := _parse_escaped(line, feed, dialect, width)):
        return record
    whole = len(split(line, dialect)) == width
    strict = _parse_line(line, dialect) or parse(line, feed, dialect)
    if strict is not None and len(strict[0]) == width:
        cells, taken = strict
        return (
            Record(start, cells, "quoted", start, not whole)
            if len(taken) == 1
            else _spanning(*strict, feed, dialect, width)
        )
    if strict is not None:
        feed.give_back(strict[1][1:])
    escapes = dialect.escapes == "backslash" or dialect.escapes == dialect.quotes == "auto"
    if escapes and (record := _parse_escaped(line, feed, dialect, width)):
        return record
    if whole and dialect.quotes == "auto":
        return Record(start, unwrap(split(line, dialect), dialect.quote), "literal", start)
    cells, taken = strict or (split(line, dialect), [line])
    for _ in taken[1:]:
        next(feed)
    return Record(start, cells, "ragged", feed.number)


def _spanning(cells: list[str], taken: list[str], feed: _Feed, dialect: Dialect, width: int) -> Record:
    """A record over several lines, ambiguous where each of them is a row by itself."""
    start = feed.number - len(taken) + 1
    if any(len(split(each, dialect)) != width for each in taken):
        return Record(start, cells, "several lines", feed.number, needs_quotes=True)
    if dialect.ambiguous == "one" or dialect.quotes == "minimal":
        return Record(start, cells, "ambiguous", feed.number)
    feed.give_back(taken[1:])
    return Record(start, unwrap(split(taken[0], dialect), dialect.quote), "literal", start)


def _parse_escaped(line: str, feed: _Feed, dialect: Dialect, width: int) -> Record | None:
    """The record with a backslash as escape, where it has such a quotation mark and the right number of cells."""
    found = parse(line, feed, dialect, escaped=True)
    if found is None:
        return None
    cells, taken = found
    if len(cells) != width or not any(f"\\{dialect.quote}" in each for each in taken):
        feed.give_back(taken[1:])
        return None
    if len(taken) == 1:
        return Record(feed.number, cells, "escaped", feed.number, needs_quotes=True)
    record = _spanning(cells, taken, feed, dialect, width)
    return record._replace(reading="escaped") if record.reading == "several lines" else record


def unwrap(cells: list[str], quote: str = '"') -> list[str]:
    """Cells in whose lines quotation marks are text, without those that plainly enclose a cell.

    They do where they stand at both ends and those between are doubled, or where every cell of the row has them.
    """
    enclosed = [len(cell) > 1 and cell[0] == cell[-1] == quote for cell in cells]
    everywhere = all(enclosed)
    return [
        _inner(cell, quote, everywhere) if has_marks else cell for cell, has_marks in zip(cells, enclosed, strict=True)
    ]


def _inner(cell: str, quote: str, everywhere: bool) -> str:
    inner = cell[1:-1]
    if quote not in inner.replace(quote * 2, ""):
        return inner.replace(quote * 2, quote)
    return inner if everywhere else cell
