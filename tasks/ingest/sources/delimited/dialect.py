"""Which dialect a file is written in: the delimiter and the spaces after it, by the number of cells in a sample of rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tasks.config_sections import CsvConfig
from tasks.ingest.sources.delimited.records import Dialect, Record, parse, read_records, split

DELIMITERS = (",", ";", "\t", "|")
"""What `auto` tries, after the one that the file's ending stands for."""
_QUOTED_SHARE = 0.9
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE)


def separator_of(line: str) -> str | None:
    """The delimiter that a first line `sep=;` names, as spreadsheets write and read it."""
    found = _SEPARATOR_LINE.fullmatch(line)
    return found[1] if found else None


def header_of(lines: Sequence[str], dialect: Dialect) -> tuple[list[str], int] | None:
    """The cells of the header, and how many lines it takes; None where its quotation marks do not close."""
    if dialect.quotes == "none":
        return split(lines[0], dialect), 1
    found = parse(lines[0], iter(lines[1:]), dialect)
    return None if found is None else (found[0], len(found[1]))


def sniff(lines: Sequence[str], usual: str, options: CsvConfig, *, whole: bool) -> Dialect:
    """The dialect in which most rows of the sample have as many cells as the header; of equal ones the usual, then the wider.

    `usual`: the delimiter that the ending stands for. `whole`: whether the sample is the whole file.
    """
    named = options.delimiter if options.delimiter != "auto" else None
    candidates = [named] if named else [usual, *(mark for mark in DELIMITERS if mark != usual)]
    best, best_score = _dialect(candidates[0], options, skip=options.skipinitialspace is True), (-1.0, 0, 0)
    for place, delimiter in enumerate(candidates):
        for skip in (False, True) if options.skipinitialspace == "auto" else (options.skipinitialspace,):
            dialect = _dialect(delimiter, options, skip=skip)
            score = _score(lines, dialect, whole=whole)
            found = options.skipinitialspace == "auto" and skip
            if score is None or (found and not _begins_with_spaces(lines, dialect)):
                continue
            share, width = score
            ranked = (share, 1 if place == 0 else 0, width + skip)
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
    names, taken = header
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
    return Dialect(delimiter, skip, options.quoting, options.escape, "each" if delimiter == "\t" else "one", quote)


def _begins_with_spaces(lines: Sequence[str], dialect: Dialect) -> bool:
    """Whether every name of the header but the first stands behind a space: such a space is never part of a name."""
    cells = lines[0].rstrip("\r\n").split(dialect.delimiter)[1:]
    return bool(cells) and all(cell.startswith(" ") for cell in cells)


def _score(lines: Sequence[str], dialect: Dialect, *, whole: bool) -> tuple[float, int] | None:
    """The share of the sample's rows with as many cells as the header, and their number; None without a header."""
    header = header_of(lines, dialect)
    if header is None:
        return None
    names, taken = header
    filled = _records(lines, dialect, len(names), taken, whole=whole)
    fitting = sum(record.reading != "ragged" for record in filled)
    return (fitting / len(filled) if filled else 1.0), len(names)


def _records(lines: Sequence[str], dialect: Dialect, width: int, taken: int, *, whole: bool) -> list[Record]:
    """The filled records of the sample below its header of so many lines."""
    records = list(read_records(lines[taken:], dialect, width, taken + 1))
    if not whole:
        records = records[:-1]  # the last may continue beyond the sample
    return [record for record in records if record.cells]
