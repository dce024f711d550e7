"""The reader of CSV and TSV: the dialect is sniffed on a sample, checked over the whole file, and said in one note."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tasks.config_sections import CsvConfig
from tasks.errors import DataError
from tasks.ingest.manifest.rows import Manifest, Row
from tasks.ingest.sources.delimited.dialect import count_quoted, header_of, separator_of, sniff
from tasks.ingest.sources.delimited.findings import USUAL, Findings, Table, describe, recognise, show_cell
from tasks.ingest.sources.delimited.records import NULL, Dialect
from tasks.ingest.sources.encodings import NotText, find_encoding
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.streams import TableFile, format_of

_SAMPLE_LINES = 2_000
_SAMPLE_CHARS = 1 << 20


def open_delimited(file: TableFile, limits: ReadLimits) -> Manifest:
    """The rows of a CSV or TSV file. DataError for a file that is no such table, or that can be read in two ways."""
    table, separator_line, encoding_note = _open_table(file, limits.csv)
    findings = _check(table)
    if _quotes_doubly(table, findings, limits.csv):
        table = replace(table, dialect=replace(table.dialect, quote='"'))
        findings = _check(table)
    if findings.counts["escaped"]:  # where some rows have such quotation marks, every row may
        table = replace(table, dialect=replace(table.dialect, escapes="backslash"))
        findings = _check(table)
    if findings.counts["ambiguous"] and table.dialect.quotes == "auto":
        table = replace(table, dialect=_decide(table, findings))
        decided, findings = findings.first["ambiguous"], _check(table)
    else:
        decided = None
    named = [(place, name) for place, name in enumerate(table.header) if name]
    notes = [f"{file.path.name} {encoding_note}"] if encoding_note else []
    notes += describe(table, findings, decided)
    columns = tuple(name for _, name in named)
    return Manifest(
        file.path,
        file.path.parent,
        columns,
        _rows(table, named),
        tuple(notes),
        findings.rows,
        recognise(table, findings, limits.csv, separator_line),
        unnamed=tuple(place for place, name in enumerate(table.header) if not name),
    )


def _open_table(file: TableFile, options: CsvConfig) -> tuple[Table, int, str | None]:
    """The table, the number of `sep=` lines before its header, and a note on its encoding."""
    try:
        encoding, note = find_encoding(file.blocks, None if options.encoding == "auto" else options.encoding)
    except NotText as error:
        raise DataError(f"manifest {file.path}: {error}") from None
    lines = itertools.islice(file.lines(encoding), options.skiprows, None)
    sample: list[str] = []
    blank = chars = 0
    for line in lines:
        if not sample and not line.rstrip("\r\n"):
            blank += 1
            continue
        sample.append(line)
        chars += len(line)
        if len(sample) >= _SAMPLE_LINES or chars > _SAMPLE_CHARS:
            break
    whole = next(lines, None) is None
    separator = separator_of(sample[0]) if sample else None
    if separator is not None:
        sample = sample[1:]
        if options.delimiter == "auto":
            options = options.model_copy(update={"delimiter": separator})
    if not sample:
        raise DataError(f"manifest {file.path}: the file holds no rows")
    before = options.skiprows + blank + (separator is not None)
    dialect = sniff(sample, USUAL.get(format_of(file.path.name), "\t"), options, whole=whole)
    found = header_of(sample, dialect)
    if found is None:
        raise DataError(
            f"manifest {file.path}: not readable as a table (line {before + 1}: a quotation mark in the header does not "
            "close; data.csv.quoting=none takes it for a part of the name; where this line is a row already, data.csv.header "
            "names the columns)"
        )
    header = [name.strip() for name in found.names]
    _require_names(file, header)
    table = Table(file, encoding, dialect, header, found.row_names, options.skiprows, before + found.lines)
    return table, int(separator is not None), note


def _require_names(file: TableFile, header: list[str]) -> None:
    if any("\x00" in name for name in header):
        raise DataError(f"manifest {file.path}: a NUL character in the header; save it as UTF-8 text")
    repeated = [name for name, count in Counter(header).items() if name and count > 1]
    if repeated:
        raise DataError(f"manifest {file.path}: column {repeated[0]!r} appears twice; rename one")
    if not any(header):
        raise DataError(f"manifest {file.path}: its first line names no column")


def _check(table: Table) -> Findings:
    findings = Findings()
    unnamed = [place for place, name in enumerate(table.header) if not name]
    for record in table.records():
        if not record.cells:
            continue
        findings.rows += 1
        findings.nulls += record.cells.count(NULL)
        if record.reading != "plain":
            findings.formulas += sum(map(_is_formula, record.cells))
            findings.counts[record.reading] += 1
            findings.first.setdefault(record.reading, record)
            findings.needing_quotes += record.needs_quotes
        for place in unnamed:
            findings.filled[place] += len(record.cells) > place and record.cells[place] != ""
    return findings


def _quotes_doubly(table: Table, findings: Findings, options: CsvConfig) -> bool:
    """Whether the file quotes with " after all, though ' encloses cells of nearly every row of the sample: some cells begin
    with ", and no more in '…' need their marks, as one that holds the delimiter does.
    """
    if options.quotechar != "auto" or table.dialect.quote != "'":
        return False
    doubly = count_quoted(table.file.lines(table.encoding), table.dialect.delimiter)
    return doubly > 0 and doubly >= findings.needing_quotes


def _decide(table: Table, findings: Findings) -> Dialect:
    """What quoted cells are whose lines are all rows by themselves: as the rest of the file quotes, or does not.

    DataError where the rest says nothing, or both.
    """
    quotes, plain = findings.needing_quotes > 0, findings.counts["literal"] > 0
    if quotes != plain:
        return replace(table.dialect, ambiguous="one" if quotes else "each")
    record = findings.first["ambiguous"]
    raise DataError(
        f"manifest {table.file.path}: line {record.line}: the quotation mark in {show_cell(record)} closes on line "
        f"{record.last_line}, and each of these lines is a row by itself; set data.csv.quoting=none where quotation marks "
        "are part of the text, or data.csv.quoting=minimal where this is one cell over several lines"
    )


def _is_formula(cell: str) -> bool:
    """Whether a cell is a text as a formula of Excel: ="0042" keeps its zeros there."""
    return cell.startswith('="') and cell.endswith('"') and '"' not in cell[2:-1] and len(cell) > 2


def _rows(table: Table, named: list[tuple[int, str]]) -> Iterator[Row]:
    """Every row; its number is that of its first line in the file."""
    needed = max(place for place, _ in named) + 1
    header = "data.csv.header" if table.dialect.header else "the header"
    for record in table.records():
        number, cells = record.line, record.cells
        if not cells:
            continue
        if record.reading != "plain":
            cells = [cell[2:-1] if _is_formula(cell) else cell for cell in cells]
        values = {name: "" if cells[place] == NULL else cells[place] for place, name in named if place < len(cells)}
        if any("\x00" in cell for cell in cells):
            yield Row(number, {}, "nul-in-row", f"line {record.line}: a cell holds a NUL character")
        elif record.reading == "ragged" and not (
            len(cells) >= needed and not any(cells[len(table.header) :])
        ):  # empty cells beyond the header, or none in unnamed columns, lose nothing
            detail = f"line {record.line}: {len(cells)} cells, {header} has {len(table.header)}"
            if any('"' in cell for cell in cells):
                detail += f"; see data.csv.quoting for the quotation mark in {show_cell(record)}"
            yield Row(number, values, "ragged-row", detail)
        else:
            yield Row(number, values)
