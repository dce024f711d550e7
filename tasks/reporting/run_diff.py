"""Two runs beside each other, as tables."""

from __future__ import annotations

from typing import NamedTuple

from data_contracts.refs import Frozen
from tasks.display_table import DisplayTable
from tasks.problems.registry import figure_text

Triple = tuple[float, float, float]


class Change(Frozen):
    """One thing that differs."""

    name: str
    a: str | None
    b: str | None


class Figure(NamedTuple):
    """A metric of either run on its test rows."""

    metric: str
    a: float | None
    b: float | None
    difference: Triple | None
    """b minus a on the same rows: value, low, high."""


class RunDiff(NamedTuple):
    """What differs between run `a` and run `b`."""

    a: str
    b: str
    config: list[Change]
    data: list[Change]
    figures: list[Figure]
    paired: str
    """On which rows the differences are, or why there are none."""
    seconds: list[Change]


def changes_table(title: str, changes: list[Change], heads: tuple[str, str]) -> DisplayTable:
    """What differs, a column for each run under its head."""
    return DisplayTable((title, *heads), tuple((change.name, change.a, change.b) for change in changes))


def figures_table(diff: RunDiff, heads: tuple[str, str]) -> DisplayTable:
    """The figures of both runs under their heads, and their difference with its interval."""
    return DisplayTable(
        ("metric", *heads, "difference"),
        tuple((one.metric, _text(one.a, one), _text(one.b, one), _difference(one)) for one in diff.figures),
    )


def _text(value: float | None, figure: Figure) -> str | None:
    return None if value is None else figure_text(value, figure.metric)


def _difference(figure: Figure) -> str | None:
    if figure.difference is None:
        return None
    value, low, high = (figure_text(part, figure.metric, sign=True) for part in figure.difference)
    return f"{value} [{low}, {high}]"
