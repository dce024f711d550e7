"""profile.json: what validate leaves of the data for the pages of a run. Counts, shares and histograms, no row of the data."""

from __future__ import annotations

from typing import TypedDict

from data_contracts.refs import ColumnType, InputName

PROFILE = "profile.json"


class Histogram(TypedDict):
    """Counts in equal bins from the smallest to the largest value."""

    low: float
    high: float
    median: float
    counts: list[int]


class ClassRows(TypedDict):
    """How many rows a class or label has, and how they are split."""

    label: str
    rows: int
    train: int
    val: int
    test: int


class ClassSizes(TypedDict):
    """The classes or labels by size; none for numbers."""

    count: int
    left_out: int
    """Classes of middling size, where there are many."""
    rows: list[ClassRows]


class ColumnSummary(TypedDict):
    """A column that is one of several in an input, over the rows that have the input."""

    name: str
    type: ColumnType
    rows: int
    missing: int
    distinct: int
    low: float | None
    """Of numbers, as the two below."""
    median: float | None
    high: float | None
    most_frequent: dict[str, int]
    """Of categories: the first few, with their rows."""


class InputProfile(TypedDict):
    """One input over all samples."""

    name: InputName
    missing: int
    distinct: int
    unit: str
    """Of `sizes`."""
    sizes: Histogram | None
    columns: list[ColumnSummary]
    """Of an input that is made of several."""


class DataProfile(TypedDict):
    """Rows per class and split, and per input: how many lack it, how many media are distinct, and their sizes."""

    rows: int
    classes: ClassSizes
    numbers: Histogram | None
    """Of the first label column, where it holds numbers."""
    modalities: list[InputProfile]
