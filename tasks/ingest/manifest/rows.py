"""What a manifest is made of, whatever its format: rows with a number, values by column, or the reason for having none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_contracts.recognition import Recognition
from data_contracts.refs import Split

Purpose = Literal["train", "predict"]
"""train: rows need a label, and repeats are marked. predict: every row that can be decoded is kept."""
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}
"""Names under which manifests give a split; compared in lower case."""


Folds = Mapping[Split, tuple[str, ...]]


def split_of(text: str, folds: Folds) -> str | None:
    """The split that a cell names, by the folds where there are some; None for none."""
    if folds:
        named = next((split for split, values in folds.items() if text in values), None)
        return named or (None if "train" in folds else "train")
    return SPLITS.get(text.lower())


Cells = dict[str, Any]
"""A row of somebody's table, by column: of whatever type its format gives a cell."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read: its values by column, or the reason why it has none."""

    number: int
    values: Cells = field(default_factory=dict)
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Inline:
    """A medium inside the manifest: its digest stands for it, so that a table of pictures is not held in memory."""

    sha256: str | None
    """None where the cell holds no bytes."""


@dataclass(frozen=True)
class Manifest:
    """A source of rows."""

    path: Path
    """The manifest file, or the folder."""
    root: Path
    """Below it, media may lie."""
    columns: tuple[str, ...]
    rows: Iterator[Row]
    notes: tuple[str, ...] = ()
    """What a person should know about how it was read."""
    count: int = 0
    """Rows, where they were counted when it was opened; else 0."""
    recognition: Recognition = field(default_factory=Recognition)
    """What the reader chose: the dialect of a CSV file, say."""
    unnamed: tuple[int, ...] = ()
    """Places of columns that have no name and are left out."""
    of_lists: bool = False
    """Whether lists of the files in a folder say what its rows are."""
