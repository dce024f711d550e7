"""What the stages ask of an input that is made of several columns: their names and types, a fit, and what they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from data_contracts.data_profile import ColumnSummary
from data_contracts.refs import ColumnType
from tasks.modalities import JoinedColumns, Statistics
from tasks.modality_specs.tabular.cells import NotACell, is_missing_mark, parse_number, read_row, row_text
from tasks.modality_specs.tabular.column_types import decide_types
from tasks.modality_specs.tabular.fitting import CATEGORIES, FittedTable, fit_table

if TYPE_CHECKING:
    from tasks.modeling.encoder_spec import EncoderSpec

SPARSE = 0.5
"""A column of which more than this share is empty is pointed out."""
SHOWN = 3


class TabularColumns(JoinedColumns):
    """The columns of `data.columns.tabular`."""

    def split_entry(self, entry: str) -> tuple[str, ColumnType | None]:
        """`zip:categorical` is the column `zip`, whose type is not to be guessed."""
        name, colon, named = entry.rpartition(":")
        found = next((each for each in get_args(ColumnType) if each == named), None)
        return (name, found) if colon and name and found else (entry, None)

    def join(self, cells: Mapping[str, Any]) -> str | None:
        """See `row_text`."""
        try:
            return row_text(cells)
        except NotACell as error:
            raise ValueError(str(error)) from None

    def decide_types(self, media: Sequence[str], entries: Sequence[str]) -> tuple[dict[str, ColumnType], list[str]]:
        """See tasks.modality_specs.tabular.column_types."""
        split = [self.split_entry(entry) for entry in entries]
        fixed = {name: named for name, named in split if named is not None}
        return decide_types([read_row(text) for text in media], [name for name, _ in split], fixed)

    def fit(self, spec: EncoderSpec, media: Sequence[str], types: Mapping[str, ColumnType]) -> EncoderSpec:
        """The spec with the columns as these rows, those of train, fill them."""
        table = fit_table([read_row(text) for text in media], types)
        return spec.model_copy(update={"settings": table.model_dump(mode="json")})

    def columns_read(self, spec: EncoderSpec) -> tuple[str, ...]:
        """The names of the fitted columns, each with its type."""
        return tuple(f"{column.name}:{column.type}" for column in FittedTable.model_validate(spec.settings).columns)

    def permute(self, media: Sequence[str], column: str, order: Sequence[int]) -> list[str | None]:
        """The rows, each with the cell of another one in this column; None where nothing is left."""
        rows = [read_row(text) for text in media]
        return [
            row_text({name: text for name, text in row.items() if name != column} | {column: rows[other].get(column)})
            for row, other in zip(rows, order, strict=True)
        ]

    def describe_unknown(self, media: Sequence[str], spec: EncoderSpec) -> list[str]:
        """A line for every column in which a model meets what it was not fitted to."""
        rows = [read_row(text) for text in media]
        notes = []
        for column in FittedTable.model_validate(spec.settings).columns:
            filled = [row[column.name] for row in rows if column.name in row]
            if column.type == "numeric":
                odd = [text for text in filled if parse_number(text) is None and not is_missing_mark(text)]
                what = "are no numbers and count as missing"
            else:
                known = set(column.categories)
                odd = [text for text in filled if text not in known]
                what = "are of a category that the model does not know"
            if odd:
                shown = ", ".join(repr(text[:40]) for text, _ in Counter(odd).most_common(SHOWN))
                notes.append(f"tabular column {column.name!r}: {len(odd)} of {len(filled)} cells {what} ({shown})")
            if not filled and media:
                notes.append(f"tabular column {column.name!r}: is missing in every row")
        return notes

    def summarise(
        self, media: Sequence[str], types: Mapping[str, ColumnType], labels: Sequence[str]
    ) -> tuple[list[ColumnSummary], list[str]]:
        """Every column in figures, and what is suspicious: constant, mostly empty, too many categories, or the label itself."""
        rows = [read_row(text) for text in media]
        found, notes = [], []
        for name in sorted(types):
            cells = [row.get(name) for row in rows]
            summary = _summary(name, types[name], cells)
            found.append(summary)
            notes += [f"tabular column {name!r}: {text}" for text in _suspicions(summary, cells, labels)]
        return found, notes


def _summary(name: str, column_type: ColumnType, cells: Sequence[str | None]) -> ColumnSummary:
    filled = [text for text in cells if text is not None]
    found: ColumnSummary = {
        "name": name,
        "type": column_type,
        "rows": len(cells),
        "missing": len(cells) - len(filled),
        "distinct": len(set(filled)),
        "low": None,
        "median": None,
        "high": None,
        "most_frequent": {},
    }
    if column_type == "categorical":
        most = sorted(Counter(filled).items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        return {**found, "most_frequent": dict(most)}
    numbers = [number for text in filled if (number := parse_number(text)) is not None]
    found = {**found, "missing": len(cells) - len(numbers), "distinct": len(set(numbers))}
    if not numbers:
        return found
    low, median, high = np.percentile(numbers, [0, 50, 100]).tolist()
    return {**found, "low": low, "median": median, "high": high}


def _suspicions(summary: ColumnSummary, cells: Sequence[str | None], labels: Sequence[str]) -> list[str]:
    found = []
    if summary["distinct"] == 1 and not summary["missing"]:
        found.append("holds one value in every row; it says nothing")
    if summary["missing"] > SPARSE * summary["rows"] and summary["distinct"]:
        found.append(f"{summary['missing']} of {summary['rows']} rows lack it")
    if summary["type"] == "categorical" and summary["distinct"] > CATEGORIES:
        found.append(
            f"has {summary['distinct']} categories; the {CATEGORIES} most frequent of the train rows are distinguished, all "
            "others are read as one"
        )
    if _predicts_label(cells, labels):
        found.append("determines the label of every row: leakage, unless it is known when a prediction is asked for")
    return found


def _predicts_label(cells: Sequence[str | None], labels: Sequence[str]) -> bool:
    """Whether each value goes with one label and each label with one value, every value in more than one row."""
    pairs = Counter(zip(cells, labels, strict=True))
    values, names = {value for value, _ in pairs}, {label for _, label in pairs}
    return len(names) > 1 and None not in values and len(pairs) == len(values) == len(names) and min(pairs.values()) > 1


def statistics_of(media: Sequence[str], spec: EncoderSpec) -> Statistics:
    """What drift is looked for in: the numbers and categories of every column that the model reads, and what is missing."""
    rows = [read_row(text) for text in media]
    found = Statistics({}, {})
    for column in FittedTable.model_validate(spec.settings).columns:
        filled = [row[column.name] for row in rows if column.name in row]
        if column.type == "numeric":
            numbers = [number for text in filled if (number := parse_number(text)) is not None]
            found.numbers[column.name] = numbers
            missing = len(rows) - len(numbers)
        else:
            found.categories[column.name] = dict(Counter(filled))
            missing = len(rows) - len(filled)
        found.categories[f"{column.name} missing"] = {"missing": missing, "present": len(rows) - missing}
    return found
