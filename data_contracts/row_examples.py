"""examples.json and leaked.json: a few rows of each reason, with what they hold, for the pages of a run."""

from __future__ import annotations

from typing import NotRequired  # pydantic reads those of typing only from Python 3.12 on

from typing_extensions import TypedDict

from data_contracts.refs import InputName

EXAMPLES, LEAKED = "examples.json", "leaked.json"


def row_name(row: int, table: str | None) -> str:
    """How a message names a row: `row 5`, of several tables `row 5 of test.csv`."""
    return f"row {row}" if table is None else f"row {row} of {table}"


class QuarantinedRow(TypedDict):
    """A row of quarantine.parquet."""

    row: int
    table: NotRequired[str | None]
    """Where there are several."""
    id: str
    modality: str | None
    reason: str
    detail: str | None
    path: str | None


class RowExample(TypedDict):
    """A row of the manifest; `media` are digests of what the store has of it."""

    id: str
    label: str | None
    split: str | None
    media: dict[InputName, str]
    row: NotRequired[int]
    table: NotRequired[str | None]
    reason: NotRequired[str | None]
    detail: NotRequired[str | None]
    bad_modality: NotRequired[InputName | None]
    path: NotRequired[str | None]
    """Of the medium that is bad."""
    group: NotRequired[str | None]


class RejectedExample(RowExample):
    """A row that was not used."""

    duplicate_of: RowExample | None
    """The row that it repeats or contradicts."""


class RowExamples(TypedDict):
    """What ingest keeps."""

    refused: list[RejectedExample]
    """Up to a few of each reason, those that can be seen first."""
    near: list[list[RowExample]]
    """Pairs of near duplicates."""


class LeakedPair(TypedDict):
    """A row and a row of the same content or group on a later side of train, val, test."""

    row: RowExample
    counterpart: RowExample
    cause: str


class LeakedRows(TypedDict):
    """What validate keeps of the rows that leak."""

    rows: int
    """How many there are."""
    dropped: bool
    """Left out by split.leakage=drop."""
    pairs: list[LeakedPair]
    """The first of each cause."""
