"""The label cells of all tables, kept while rows are read, and read as whole columns at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from data_contracts.recognition import SettingValue
from data_contracts.refs import ProblemName
from tasks.config import DataConfig
from tasks.config_sections import CsvConfig
from tasks.ingest.manifest.cells import only_choice, read_label
from tasks.ingest.manifest.label_sets import divide, find_separator, likely_separators, read_list
from tasks.ingest.manifest.label_spelling import composed, label_text, unify_spelling
from tasks.ingest.manifest.number_forms import NumberForm, find_form
from tasks.ingest.manifest.raw_rows import RawRow, RawRows
from tasks.ingest.manifest.rows import Purpose
from tasks.problems.cells import Cell, is_empty
from tasks.problems.registry import get_problem
from tasks.store import canonical_json

CELLS = "label_cells"
"""Key of a located row under which its label cells stand, the first column's first."""
UNLABELLED = "unlabelled"
LABELS_SHOWN = 3
_OF_LABELS = (None, "missing-label", "bad-label")
_MARKED_ROWS = 10
"""So many rows of one label, and of no other, make a mark of it."""


class Formed(NamedTuple):
    """A label column with its cells in one form."""

    cells: list[Any]
    notes: list[str]
    settings: dict[str, SettingValue]
    """Those that were chosen, as the config has them."""


def one_form(cells: list[Any], name: str, problem: ProblemName, data: DataConfig) -> Formed:
    """The cells of a label column in one spelling each, as read_label takes them. Raises DataError."""
    asked = get_problem(problem)
    if not asked.reads_lists:
        cells = [
            only_choice(cell) if cell else cell for cell in cells
        ]  # of an empty list the cell itself says that it is none
    if asked.is_numeric:
        return _numbers(cells, name, data)
    notes: list[str] = []
    settings: dict[str, SettingValue] = {}
    if asked.reads_lists:
        cells, notes, settings = _sets(cells, name, data)
    texts = [
        text for cell in cells for item in (cell if isinstance(cell, list) else [cell]) if (text := label_text(item))
    ]
    changed, respelled = unify_spelling(set(texts))
    notes += [f"{name}: {note}" for note in (*respelled, *composed(set(texts)))]
    if changed:
        cells = [
            [_changed(item, changed) for item in cell] if isinstance(cell, list) else _changed(cell, changed)
            for cell in cells
        ]
    return Formed(cells, notes, settings)


def _changed(cell: Any, changed: dict[str, str]) -> Any:
    text = label_text(cell)
    return changed.get(text, cell) if text else cell


def _numbers(cells: list[Any], name: str, data: DataConfig) -> Formed:
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    form = find_form(texts, data.csv, name)
    settings = _settings_of(form or NumberForm(".", ""), data.csv) if texts else {}
    if form is None:
        return Formed(cells, [], settings)
    example = max(texts, key=lambda text: sum(not character.isdigit() for character in text))
    note = f"{name}: numbers are written like {example!r} and read so: {form.describe()} (data.csv.decimal, thousands)"
    in_brackets = any("(" in text for text in texts)
    note += "; numbers in brackets are negative" if in_brackets else ""
    read = [form.read(cell) if isinstance(cell, str) and cell.strip() else cell for cell in cells]
    return Formed(read, [] if form == NumberForm(".", "") and not in_brackets else [note], settings)


def _settings_of(form: NumberForm, asked: CsvConfig) -> dict[str, SettingValue]:
    """The settings that say how numbers are written, of those that are open."""
    chosen = {"decimal": form.decimal, "thousands": form.thousands or "none", "unit": form.unit or "none"}
    return {f"data.csv.{name}": value for name, value in chosen.items() if getattr(asked, name) == "auto"}


def _sets(cells: list[Any], name: str, data: DataConfig) -> Formed:
    """The cells as lists of labels."""
    texts = [text.strip() for text in cells if isinstance(text, str) and text.strip() and text.strip()[0] not in "[({"]
    is_open, is_none = data.label_separator == "auto", data.label_separator == "none"
    separator = find_separator(texts) if is_open else None if is_none else data.label_separator
    found = [_set(cell, separator) for cell in cells]
    notes = []
    if separator not in (None, "|") and is_open:
        what = "white space" if str(separator).isspace() else repr(separator)
        notes.append(f"{name}: labels are separated by {what} (data.label_separator)")
    if texts and not any(isinstance(cell, list) and len(cell) > 1 for cell in found):
        likely = ", ".join(map(repr, likely_separators(texts)[:LABELS_SHOWN])) or "none of the usual marks"
        notes.append(
            f"{name}: no row has two labels, under data.problem=multilabel; its cells hold {likely}: set data.label_separator"
        )
    return Formed(found, notes, {"data.label_separator": separator or "none"} if is_open else {})


def _set(cell: Any, separator: str | None) -> Any:
    if not isinstance(cell, str) or not cell.strip():
        return cell
    if cell.strip()[0] in "[({":
        found = read_list(cell)
        return cell if found is None else found
    return cell if separator is None else divide(cell, separator) or cell


def note_likely_sets(cells: Sequence[Any], name: str) -> list[str]:
    """A note where labels that nobody called sets divide into labels that recur."""
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    lists = [cell for cell in texts if cell.startswith("[") and read_list(cell)]
    separator = find_separator(texts)
    if not (lists or separator):
        return []
    example = next((text for text in lists), None) or next(
        text for text in texts if len(divide(text, str(separator))) > 1
    )
    return [
        f"{name}: {example!r} looks like several labels, and each cell is taken for one class; data.problem=multilabel"
    ]


@dataclass
class LabelCells:
    """The label cells of every row, in the order of the rows."""

    columns: tuple[tuple[str, ProblemName], ...]
    """Name and problem of each label column, the first one first."""
    cells: list[list[Any]] = field(default_factory=list)
    settings: list[dict[str, SettingValue]] = field(default_factory=list)
    """What was chosen for each column."""
    _seen: dict[Any, Any] = field(default_factory=dict)

    def note(self, rows: list[RawRow]) -> list[RawRow]:
        """The rows, whose label cells are kept apart; called with all of them in order."""
        self.cells = self.cells or [[] for _ in self.columns]
        for row in rows:
            read = row.pop(CELLS) or [None] * len(self.cells)  # a table without labels beside one with some
            for kept, cell in zip(self.cells, read, strict=True):
                kept.append(self._seen.setdefault(cell, cell) if isinstance(cell, str) else cell)
        return rows

    def apply(self, table: RawRows, data: DataConfig, purpose: Purpose, *, strict: bool = False) -> list[str]:
        """The raw rows have their labels, those with unusable ones are refused (of a prediction none); with notes.

        strict: a mark in place of labels is a label like any other (split.strict).
        """
        notes: list[str] = []
        reasons, details = table["reason"].to_pylist(), table["detail"].to_pylist()
        texts: list[list[str | None]] = []
        for place, ((name, problem), cells) in enumerate(zip(self.columns, self.cells, strict=True)):
            formed, form_notes, settings = one_form(cells, name, problem, data)
            self.settings.append(settings)
            notes += form_notes
            if data.problem == "auto" and not data.columns.labels:
                notes += note_likely_sets(cells, name)
            texts.append([])
            read = _reader(name, problem)
            for row, (cell, original) in enumerate(zip(formed, cells, strict=True)):
                text, fault = read(original if is_empty(cell) else cell)
                texts[-1].append(text)
                ignored = fault is None or purpose == "predict" or (place and fault[0] == "missing-label")
                if not ignored and fault is not None and reasons[row] is None:
                    reasons[row], details[row] = fault
        if purpose == "train" and self.cells:
            notes += _set_aside(table["split"].to_pylist(), self.cells[0], reasons, details, strict=strict)
        further = [name for name, _ in self.columns[1:]]
        targets = [_targets(further, row) for row in zip(*texts[1:], strict=True)] if further else None
        filled = {"reason": reasons, "detail": details, "label": texts[0] if texts else None, "targets": targets}
        for column, values in filled.items():
            if values is not None:
                table.replace(column, values)
        return notes


def _reader(name: str, problem: ProblemName) -> Callable[[Any], Cell]:
    """read_label of a column; a text that recurs, as those of classes do, is mostly read once."""

    @lru_cache(4096)
    def read_text(text: str) -> Cell:
        """The label of a cell that holds a text."""
        return read_label(text, name, problem)

    return lambda cell: read_text(cell) if isinstance(cell, str) else read_label(cell, name, problem)


def _set_aside(
    splits: list[str | None], cells: list[Any], reasons: list[str | None], details: list[str | None], *, strict: bool
) -> list[str]:
    """Marks the rows of val or test as unlabelled, with a note, where the manifest gives that split and no label in it, or one
    in all of its rows that no other split has: a mark in place of labels, as -1 and ? are; not where that is `strict`.
    """
    of_split: dict[str | None, set[str | None]] = {}
    for split, cell in zip(splits, cells, strict=True):
        of_split.setdefault(split, set()).add(None if is_empty(cell) else str(cell))
    notes = []
    for split in sorted({"val", "test"} & of_split.keys()):
        labels = of_split[split]
        others = set().union(*(found for other, found in of_split.items() if other != split))
        rows = [row for row, found in enumerate(splits) if found == split and reasons[row] in _OF_LABELS]
        is_mark = not strict and len(labels) == 1 and len(rows) >= _MARKED_ROWS and not labels & others
        if not rows or (labels != {None} and not is_mark):
            continue
        mark = next(iter(labels))
        has = "no labels" if mark is None else f"the label {mark!r} in every row, which no other row has,"
        for row in rows:
            reasons[row], details[row] = UNLABELLED, f"its split, {split}, has {has.rstrip(',')}"
        notes.append(f"{split}: its {len(rows)} rows have {has} and are set aside; crossmodal predict answers them")
    return notes


def _targets(names: Sequence[str], texts: Sequence[str | None]) -> str | None:
    found = {name: text for name, text in zip(names, texts, strict=True) if text is not None}
    return canonical_json(found) if found else None
