"""What the encoder knows of its columns: a scale for numbers, a vocabulary for categories; fitted on the train rows alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from data_contracts.refs import ColumnType, Frozen
from tasks.modality_specs.tabular.cells import Cells, parse_number

CATEGORIES = 500
"""Kept of a column, the most frequent ones."""
MIN_ROWS = 2
"""A category of fewer train rows is read as `other`: of one row nothing can be learned, and `other` must be learned too."""
_NORMAL_IQR = 1.349
"""Between the quartiles of a normal distribution, in deviations."""


class FittedColumn(Frozen):
    """One column."""

    name: str
    type: ColumnType
    center: float = 0.0
    """numeric: the median."""
    scale: float = 1.0
    """numeric: the range between the quartiles, as a deviation."""
    categories: tuple[str, ...] = ()
    """categorical: those that the encoder tells apart, the most frequent first."""
    other_rows: int = 0
    """Train rows of all other categories."""
    missing_rows: int = 0
    rows: int = 0


class FittedTable(Frozen):
    """All columns, sorted by name: the settings of the encoder in a model's card."""

    version: Literal[1] = 1
    columns: tuple[FittedColumn, ...]


def fit_table(rows: Sequence[Cells], types: Mapping[str, ColumnType]) -> FittedTable:
    """The columns as these rows fill them; rows that lack the modality are not among them."""
    return FittedTable(columns=tuple(_fit(name, types[name], rows) for name in sorted(types)))


def _fit(name: str, column_type: ColumnType, rows: Sequence[Cells]) -> FittedColumn:
    filled = [row[name] for row in rows if name in row]
    if column_type == "numeric":
        numbers = np.array([number for text in filled if (number := parse_number(text)) is not None])
        center, scale = _scale(numbers)
        missing = len(rows) - len(numbers)
        return FittedColumn(
            name=name, type=column_type, center=center, scale=scale, missing_rows=missing, rows=len(rows)
        )
    counts = Counter(filled)
    ranked = sorted(counts, key=lambda text: (-counts[text], text))
    kept = tuple(text for text in ranked[:CATEGORIES] if counts[text] >= MIN_ROWS)
    return FittedColumn(
        name=name,
        type=column_type,
        categories=kept,
        other_rows=len(filled) - sum(counts[text] for text in kept),
        missing_rows=len(rows) - len(filled),
        rows=len(rows),
    )


def _scale(numbers: np.ndarray) -> tuple[float, float]:
    """Median and robust deviation; the plain deviation where most numbers are equal, and 1 where all are."""
    if not len(numbers):
        return 0.0, 1.0
    low, center, high = np.percentile(numbers, [25, 50, 75])
    scale = (high - low) / _NORMAL_IQR or numbers.std() or 1.0
    return float(center), float(scale)
