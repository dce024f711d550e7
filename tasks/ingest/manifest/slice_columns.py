"""The columns of a manifest that slices are made of: known before anything is decoded."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tasks.config_sections import split_slice
from tasks.errors import UsageError


def find_slice_columns(slices: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """Those columns of a manifest that any slice is made of."""
    named = [column for name in slices for column in split_slice(name, columns)]
    return tuple(column for column in dict.fromkeys(named) if column in columns)


def require_slice_columns(
    slices: Sequence[str], columns: Sequence[str], where: str, classes: str | None = None
) -> None:
    """Raises UsageError where a slice names a column that is not there, with the nearest that is, or the column of the
    `classes`: of one class all figures but its recall say nothing."""
    for name in slices:
        for column in split_slice(name, columns):
            if column == classes:
                raise UsageError(
                    f"slice {name!r}: {column!r} is the label column: rows of one class have no figure but its recall, which "
                    "the report has for every class, and the gate looks for classes that got worse without being asked"
                )
            if column not in columns:
                near = difflib.get_close_matches(column, columns, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"its columns are {', '.join(columns)}"
                which = "" if column == name else f" (of {name!r})"
                raise UsageError(f"slice {column!r}{which}: data {where} have no such column; {hint}")
