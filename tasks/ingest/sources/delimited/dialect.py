"""Which dialect a file is written in: the delimiter and the spaces after it, by the number of cells in a sample of rows."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from tasks.config_sections import CsvConfig
from tasks.ingest.sources.delimited.records import Dialect, Record, parse, read_records, split

DELIMITERS = (",", ";", "\t", "|")
"""What `auto` tries, after the one that the file's ending stands for."""
_QUOTED_SHARE = 0.9
_NAMED_ROWS = 50
_NUMBERS = re.compile(r"(?:.*id|index|idx|key|row|no\.?|nr\.?|n|num.*|#)$", re.IGNORECASE)
"""A name that a column of ascending numbers has."""
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE)


def separator_of(line: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as spreadsheets write and read it."""
    found = _SEPARATOR_LINE.fullmatch(line)
    return found[1] if found else None


class Header(NamedTuple):
    """What the columns are called."""

    names: list[str]
    lines: int
    """That it takes; 0 where the config names the columns."""
    row_names: bool = False
    """Whether each row begins with a cell that the header has no name for, as R writes the names of rows."""


def header_of(lines: Sequence[str], dialect: Dialect) -> Header | None:
    """The header of a file that begins with these lines; None where its quotation marks do not close."""
    if dialect.header:
        return Header(list(dialect.header), 0)
    if dialect.quotes == "none":
        names, taken = split(lines[0], dialect), 1
    else:
        found = parse(lines[0], iter(lines[1:]), dialect)
        if found is None:
            return None
        names, taken = found[0], len(found[1])
    if _have_row_names(lines[taken:], dialect, names):
        return Header(["", *names], taken, row_names=True)
    return Header(names, taken)


def _have_row_names(lines: Sequence[str], dialect: Dialect, names: Sequence[str]) -> bool:
    """Whether each of the first rows has one cell more than the header and begins with a number, which ascends; not where the
    header has a name for such a number, as a text without quotation marks may hold the delimiter in each row.
    """
    if len(names) < 2 or _NUMBERS.match(names[0].strip()):
        return False
    records = read_records(lines, dialect, len(names) + 1, 1)
    rows = [record.cells for record in itertools.islice(records, _NAMED_ROWS) if record.cells]
    numbers = [int(cells[0]) for cells in rows if len(cells) == len(names) + 1 and cells[0].isdecimal() and cells[-1]]
    return len(rows) == len(numbers) > 2 and all(first < second for first, second in itertools.pairwise(numbers))


def sniff(lines: Sequence[str], usual: str, options: CsvConfig, *, whole: bool) -> Dialect:
    """The dialect in which most rows of the sample have as many cells as the header; of equal ones the usual, then the wider.

    `usual`: the delimiter that the ending stands for. `whole`: whether the sample is the whole file.
    """
    named = options.delimiter if options.delimiter != "auto" else None
    candidates = [named] if named else [usual, *(mark for mark in DELIMITERS if mark != usual)]
    best, best_score = _dialect(candidates[0], options, skip=options.skipinitialspace is True), (-1.0, False, 0, 0)
    for place, delimiter in enumerate(candidates):
        for skip in (False, True) if options.skipinitialspace == "auto" else (options.skipinitialspace,):
            dialect = _dialect(delimiter, options, skip=skip)
            score = _score(lines, dialect, whole=whole)
            found = options.skipinitialspace == "auto" and skip
            if score is None or (found and not _begins_with_spaces(lines, dialect)):
                continue
            share, width, row_names = score
            ranked = (share, not row_names, 1 if place == 0 else 0, width + skip)
            if (width > 1 or named) and ranked > best_score:
                best, best_score = dialect, ranked
    return _with_apostrophes(lines, best, best_score[0], whole=whole) if options.quotechar == "auto" else best


def _with_apostrophes(lines: Sequence[str], found: Dialect, share: float, *, whole: bool) -> Dialect:
    """The dialect with ' as its quotation mark where nearly every record has a cell between two of them, and no fewer
    records than else have the cells that the header has. Whether " is one after all, the whole file says (count_quoted).
    """
    quoted = replace(found, quote="'")
    if found.quotes == "none" or (score := _score(lines, quoted, whole=whole)) is None or score[0] < share:
        return found
    header = header_of(lines, quoted)
    assert header is not None
    names, taken, _ = header
    enclosed = re.compile(rf"(?:^|{re.escape(found.delimiter)} *)'.*'(?:{re.escape(found.delimiter)}|$)", re.DOTALL)
    records = _records(lines, quoted, len(names), taken, whole=whole)
    texts = ["".join(lines[record.line - 1 : record.last_line]).rstrip("\r\n") for record in records]
    having = sum(enclosed.search(text) is not None for text in texts)
    return quoted if texts and having >= _QUOTED_SHARE * len(texts) else found


def count_quoted(lines: Iterable[str], delimiter: str) -> int:
    """How many cells begin with a double quotation mark."""
    begins = re.compile(rf'(?:^|{re.escape(delimiter)}) *"')
    return sum(len(begins.findall(line)) for line in lines)


def _dialect(delimiter: str, options: CsvConfig, *, skip: bool) -> Dialect:
    quote = '"' if options.quotechar == "auto" else options.quotechar
    return Dialect(
        delimiter, skip, options.quoting, options.escape, "each" if delimiter == "\t" else "one", quote, options.header
    )


def _begins_with_spaces(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether every name of the header but the first stands behind a space: such a space is never part of a name."""
    cells = lines[0].rstrip("\r\n").split(dialect.delimiter)[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _score(lines: Sequence[str], dialect: Dialect, *, whole: bool) -> tuple[float, int, bool] | None:
    """The share of the sample's rows with as many cells as the header, their number, and whether the first have row names in
    place of a name; None without a header."""
    header = header_of(lines, dialect)
    if header is None:
        return None
    names, taken, row_names = header
    filled = _records(lines, dialect, len(names), taken, whole=whole)
    fitting = sum(record.reading != "ragged" for record in filled)
    return (fitting / len(filled) if filled else 1.0), len(names), row_names


def _records(lines: Sequence[str], dialect: Dialect, width: int, taken: int, *, whole: bool) -> list[Record]:
    """The filled records of the sample below its header of so many lines."""
    records = list(read_records(lines[taken:], dialect, width, taken + 1))
    if not whole:
        records = records[:-1]  # the last may continue beyond the sample
    return [record for record in records if record.cells]
