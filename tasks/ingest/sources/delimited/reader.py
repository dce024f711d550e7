"""The reader of CSV and TSV: the dialect is sniffed on a sample, checked over the whole file, and said in one note."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from data_contracts.recognition import Recognised, Recognition, SettingValue
from tasks.config_sections import CsvConfig
from tasks.errors import DataError
from tasks.ingest.manifest.rows import Manifest, Row
from tasks.ingest.sources.delimited.dialect import count_quoted, header_of, separator_of, sniff
from tasks.ingest.sources.delimited.records import Dialect, Reading, Record, read_records
from tasks.ingest.sources.encodings import NotText, find_encoding
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.streams import TableFile, format_of

USUAL = {".csv": ","}
"""File endings, with the delimiter that each stands for; in a file of any other, tabs are no punctuation."""
_SAMPLE_LINES = 2_000
_SAMPLE_CHARS = 1 << 20


@dataclass
class _Findings:
    """What a pass over all records found."""

    rows: int = 0
    counts: Counter[Reading] = field(default_factory=Counter)
    first: dict[Reading, Record] = field(default_factory=dict)
    """The first record of each reading."""
    needing_quotes: int = 0
    filled: Counter[int] = field(default_factory=Counter)
    """Position of an unnamed column to how many of its cells hold something."""


@dataclass(frozen=True)
class _Table:
    """A file whose dialect and header are known."""

    file: TableFile
    encoding: str
    dialect: Dialect
    header: list[str]
    skipped: int
    """Lines before the first record after the header."""

    def records(self) -> Iterator[Record]:
        """Every record below the header."""
        lines = itertools.islice(self.file.lines(self.encoding), self.skipped, None)
        return read_records(lines, self.dialect, len(self.header), self.skipped + 1)


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
    notes += _describe(table, findings, decided)
    columns = tuple(name for _, name in named)
    return Manifest(
        file.path,
        file.path.parent,
        columns,
        _rows(table, named),
        tuple(notes),
        findings.rows,
        _recognise(table, findings, limits.csv, separator_line),
    )


def _open_table(file: TableFile, options: CsvConfig) -> tuple[_Table, int, str | None]:
    """The table, the number of `sep=` lines before its header, and a note on its encoding."""
    try:
        encoding, note = find_encoding(file.blocks, None if options.encoding == "auto" else options.encoding)
    except NotText as error:
        raise DataError(f"manifest {file.path}: {error}") from None
    lines = file.lines(encoding)
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
    before = blank + (separator is not None)
    dialect = sniff(sample, USUAL.get(format_of(file.path.name), "\t"), options, whole=whole)
    found = header_of(sample, dialect)
    if found is None:
        raise DataError(
            f"manifest {file.path}: not readable as a table (line {before + 1}: a quotation mark in the header does not "
            "close; data.csv.quoting=none takes it for a part of the name)"
        )
    header = [name.strip() for name in found[0]]
    _require_names(file, header)
    return _Table(file, encoding, dialect, header, before + found[1]), before, note


def _require_names(file: TableFile, header: list[str]) -> None:
    if any("\x00" in name for name in header):
        raise DataError(f"manifest {file.path}: a NUL character in the header; save it as UTF-8 text")
    repeated = [name for name, count in Counter(header).items() if name and count > 1]
    if repeated:
        raise DataError(f"manifest {file.path}: column {repeated[0]!r} appears twice; rename one")
    if not any(header):
        raise DataError(f"manifest {file.path}: its first line names no column")


def _check(table: _Table) -> _Findings:
    findings = _Findings()
    unnamed = [place for place, name in enumerate(table.header) if not name]
    for record in table.records():
        if not record.cells:
            continue
        findings.rows += 1
        if record.reading != "plain":
            findings.counts[record.reading] += 1
            findings.first.setdefault(record.reading, record)
            findings.needing_quotes += record.needs_quotes
        for place in unnamed:
            findings.filled[place] += len(record.cells) > place and record.cells[place] != ""
    return findings


def _quotes_doubly(table: _Table, findings: _Findings, options: CsvConfig) -> bool:
    """Whether the file quotes with " after all, though ' encloses cells of nearly every row of the sample: some cells begin
    with ", and no more in '…' need their marks, as one that holds the delimiter does.
    """
    if options.quotechar != "auto" or table.dialect.quote != "'":
        return False
    doubly = count_quoted(table.file.lines(table.encoding), table.dialect.delimiter)
    return doubly > 0 and doubly >= findings.needing_quotes


def _decide(table: _Table, findings: _Findings) -> Dialect:
    """What quoted cells are whose lines are all rows by themselves: as the rest of the file quotes, or does not.

    DataError where the rest says nothing, or both.
    """
    quotes, plain = findings.needing_quotes > 0, findings.counts["literal"] > 0
    if quotes != plain:
        return replace(table.dialect, ambiguous="one" if quotes else "each")
    record = findings.first["ambiguous"]
    raise DataError(
        f"manifest {table.file.path}: line {record.line}: the quotation mark in {_shown(record)} closes on line "
        f"{record.last_line}, and each of these lines is a row by itself; set data.csv.quoting=none where quotation marks "
        "are part of the text, or data.csv.quoting=minimal where this is one cell over several lines"
    )


def _shown(record: Record) -> str:
    """The cell of a record in which a quotation mark stands, cut short."""
    cell = next((cell for cell in record.cells if '"' in cell or "\n" in cell or "\r" in cell), record.cells[0])
    return repr(cell[:40] + ("…" if len(cell) > 40 else ""))


def _describe(table: _Table, findings: _Findings, decided: Record | None) -> list[str]:
    """One note on how the file was read, where that is not as its ending says."""
    dialect, counts, first = table.dialect, findings.counts, findings.first
    notes = []
    if dialect.delimiter != USUAL.get(format_of(table.file.path.name), "\t"):
        notes.append(f"cells are separated by {dialect.delimiter!r} (data.csv.delimiter)")
    if dialect.quote != '"':
        notes.append(f"cells are quoted with {dialect.quote} (data.csv.quotechar)")
    if dialect.skip_spaces:
        notes.append("spaces after the delimiter are left out")
    if counts["escaped"]:
        notes.append(
            f"\\{dialect.quote} is a quotation mark in {counts['escaped']} rows, first on line {first['escaped'].line} "
            "(data.csv.escape)"
        )
    if counts["literal"]:
        notes.append(
            f"quotation marks that enclose no cell are part of the text in {counts['literal']} rows, first on line "
            f"{first['literal'].line}: {_shown(first['literal'])} (data.csv.quoting)"
        )
    if decided is not None and counts["ambiguous"]:
        notes.append(
            f"the quoted cell that begins on line {decided.line} continues to line {decided.last_line}, as other rows quote "
            "such cells (data.csv.quoting)"
        )
    unnamed = [place for place, name in enumerate(table.header) if not name]
    if unnamed:
        filled = sum(findings.filled.values())
        notes.append(f"{len(unnamed)} unnamed columns are left out ({filled} of their cells are filled)")
    return [f"{table.file.path.name}: {'; '.join(notes)}"] if notes else []


def _recognise(table: _Table, findings: _Findings, options: CsvConfig, separator_line: int) -> Recognition:
    """How the file is written, and the settings that say so.

    `quoting` stays auto where no cell is quoted, or where quotation marks are also text: it is then a rule for each row.
    """
    dialect, counts = table.dialect, findings.counts
    chosen: dict[str, SettingValue] = {"delimiter": dialect.delimiter, "encoding": table.encoding}
    chosen["skipinitialspace"] = dialect.skip_spaces
    named = "the first line, sep=" if separator_line else "most rows of a sample have as many cells as the header"
    how = {"delimiter": named, "encoding": "the bytes of the whole file"}
    if dialect.quote != '"':
        chosen["quotechar"] = dialect.quote
        how["quotechar"] = (
            "nearly every row of a sample has a cell in these, and no cell begins with a double one or some hold the delimiter"
        )
    if dialect.skip_spaces:
        how["skipinitialspace"] = "every name of the header stands behind a space"
    if counts["escaped"]:
        chosen["escape"] = "backslash"
        how["escape"] = f"{counts['escaped']} rows need it, the first on line {findings.first['escaped'].line}"
    if counts["literal"]:
        how["quoting"] = (
            f"quotation marks are text in {counts['literal']} rows, the first on line {findings.first['literal'].line}"
        )
    elif findings.needing_quotes or counts["quoted"]:
        chosen["quoting"], how["quoting"] = "minimal", "quoted cells give every row its cells"
        chosen.setdefault("escape", "none")
        how.setdefault("escape", "no row needs one")
    asked = options.model_dump()
    found = [
        Recognised(
            role=name,
            how=reason if asked[name] == "auto" else f"set: data.csv.{name}",
            example=repr(chosen.get(name, asked[name])),
        )
        for name, reason in how.items()
    ]
    settings = {f"data.csv.{name}": value for name, value in chosen.items() if asked[name] == "auto"}
    return Recognition(found=tuple(found), settings=settings)


def _rows(table: _Table, named: list[tuple[int, str]]) -> Iterator[Row]:
    """Every row; its number is that of its first line in the file."""
    needed = max(place for place, _ in named) + 1
    for record in table.records():
        number, cells = record.line, record.cells
        if not cells:
            continue
        values = {name: cells[place] for place, name in named if place < len(cells)}
        if any("\x00" in cell for cell in cells):
            yield Row(number, {}, "nul-in-row", f"line {record.line}: a cell holds a NUL character")
        elif record.reading == "ragged" and not (
            len(cells) >= needed and not any(cells[len(table.header) :])
        ):  # empty cells beyond the header, or none in unnamed columns, lose nothing
            detail = f"line {record.line}: {len(cells)} cells, the header has {len(table.header)}"
            if any('"' in cell for cell in cells):
                detail += f"; see data.csv.quoting for the quotation mark in {_shown(record)}"
            yield Row(number, values, "ragged-row", detail)
        else:
            yield Row(number, values)
