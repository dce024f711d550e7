"""A small table for people, and how it is written for each reader: whatever its cells hold, it stays one cell of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tasks.escaping import markdown_cell, one_line

Cell = str | int | float | bool | None
UNKNOWN = "–"


@dataclass(frozen=True)
class DisplayTable:
    """Rows of as many cells as there are columns. A number is given as it is to be shown: rounded, or as text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, object]]) -> DisplayTable:
        """The table of these rows; a column that a row lacks is unknown in it. What is no cell becomes its text."""
        found = list(rows)
        columns = tuple(dict.fromkeys(name for row in found for name in row))
        return cls(columns, tuple(tuple(_cell(row.get(name)) for name in columns) for row in found))

    def as_records(self) -> list[dict[str, Cell]]:
        """For Prefect's table artifacts: numbers stay numbers, a text is one visible line."""
        names = [one_line(name) for name in self.columns]
        return [
            dict(zip(names, (one_line(c) if isinstance(c, str) else c for c in row), strict=True)) for row in self.rows
        ]

    def as_text(self) -> Iterator[tuple[str, ...]]:
        """For a terminal: the cells of each row, a dash for what is unknown."""
        return (tuple(map(cell_text, row)) for row in self.rows)

    def as_markdown(self) -> str:
        """A table of CommonMark, as MLflow's and Prefect's pages read it."""
        head, *body = (f"| {' | '.join(map(markdown_cell, row))} |" for row in (self.columns, *self.as_text()))
        return "\n".join([head, "|" + "---|" * len(self.columns), *body])


def cell_text(cell: Cell) -> str:
    """`yes` or `no`, a dash for what is unknown, else the value on one line."""
    if cell is None:
        return UNKNOWN
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return one_line(str(cell))


def _cell(value: object) -> Cell:
    return value if value is None or isinstance(value, str | int | float) else str(value)
