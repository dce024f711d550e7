"""What a pass over a delimited file found: the notes on how it was read, and the settings that would read it so again."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from data_contracts.recognition import Recognised, Recognition, SettingValue
from tasks.config_sections import CsvConfig
from tasks.ingest.sources.delimited.records import NULL, Dialect, Reading, Record, read_records
from tasks.ingest.sources.streams import TableFile, format_of

USUAL = {".csv": ","}
"""File endings, with the delimiter that each stands for; in a file of any other, tabs are no punctuation."""


@dataclass
class Findings:
    """What a pass over all records found."""

    rows: int = 0
    counts: Counter[Reading] = field(default_factory=Counter)
    first: dict[Reading, Record] = field(default_factory=dict)
    """The first record of each reading."""
    needing_quotes: int = 0
    formulas: int = 0
    """Cells that hold ="…"."""
    nulls: int = 0
    """Cells that hold \\N."""
    filled: Counter[int] = field(default_factory=Counter)
    """Position of an unnamed column to how many of its cells hold something."""


@dataclass(frozen=True)
class Table:
    """A file whose dialect and header are known."""

    file: TableFile
    encoding: str
    dialect: Dialect
    header: list[str]
    row_names: bool
    """Whether the first cell of each row has no name in the header."""
    skiprows: int
    """Lines that are left out (data.csv.skiprows)."""
    skipped: int
    """Lines before the first record after the header."""

    def records(self) -> Iterator[Record]:
        """Every record below the header."""
        lines = itertools.islice(self.file.lines(self.encoding), self.skipped, None)
        return read_records(lines, self.dialect, len(self.header), self.skipped + 1)


def describe(table: Table, findings: Findings, decided: Record | None) -> list[str]:
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
            f"{first['literal'].line}: {show_cell(first['literal'])} (data.csv.quoting)"
        )
    if decided is not None and counts["ambiguous"]:
        notes.append(
            f"the quoted cell that begins on line {decided.line} continues to line {decided.last_line}, as other rows quote "
            "such cells (data.csv.quoting)"
        )
    if table.skiprows:
        notes.append(f"its first {table.skiprows} lines are left out (data.csv.skiprows)")
    if dialect.header:
        notes.append("its columns are named by data.csv.header, and its first line is a row")
    if table.row_names:
        notes.append(
            "rows have one cell more than the header has names: their first cells are row names, as R writes them"
        )
    if findings.formulas:
        notes.append(f'{findings.formulas} cells hold ="…", as a text is kept from Excel, and are that text')
    if findings.nulls:
        notes.append(f"{findings.nulls} cells hold {NULL}, as databases write NULL, and are empty")
    unnamed = [place for place, name in enumerate(table.header) if not name]
    if unnamed:
        filled = sum(findings.filled.values())
        notes.append(f"{len(unnamed)} unnamed columns are left out ({filled} of their cells are filled)")
    return [f"{table.file.path.name}: {'; '.join(notes)}"] if notes else []


def recognise(table: Table, findings: Findings, options: CsvConfig, separator_line: int) -> Recognition:
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


def show_cell(record: Record) -> str:
    """The cell of a record in which a quotation mark stands, cut short."""
    cell = next((cell for cell in record.cells if '"' in cell or "\n" in cell or "\r" in cell), record.cells[0])
    return repr(cell[:40] + ("…" if len(cell) > 40 else ""))
