"""What stands in a label cell."""

from __future__ import annotations

from typing import Any

from data_contracts.refs import ProblemName
from tasks.ingest.manifest.nested_columns import describe_inner
from tasks.ingest.manifest.rows import Inline
from tasks.problems.cells import Cell, plain
from tasks.problems.registry import DEFAULT, get_problem


def read_label(cell: Any, column: str, problem: ProblemName = DEFAULT) -> Cell:
    """The text of a label cell as its problem reads it, or None and why it cannot be used."""
    reader = get_problem(problem)
    cell = cell if reader.reads_lists else only_choice(cell)
    if isinstance(cell, (dict, bytes, Inline)) or (isinstance(cell, list) and not reader.reads_lists):
        what = "bytes" if isinstance(cell, Inline) else type(cell).__name__
        hint = "; data.problem=multilabel reads lists of labels" if isinstance(cell, list) else ""
        hint = "; write it as text (pandas: .str.decode('utf-8'))" if isinstance(cell, Inline) else hint
        hint = hint or describe_inner(cell, column, "label")
        return None, ("bad-label", f"column {column!r} holds {what}; expected a string or a number{hint}")
    if not isinstance(cell, list) and plain(cell) is None:
        return None, ("missing-label", f"column {column!r} is empty")
    return reader.read_cell(cell, column)


def only_choice(cell: Any) -> Any:
    """The label in a list of one, as Doccano and Prodigy write one choice; None for an empty list. Any other cell is itself."""
    return (cell[0] if cell else None) if isinstance(cell, list) and len(cell) < 2 else cell
