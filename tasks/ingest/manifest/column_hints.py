"""What a refusal for want of a column adds: the columns that could be meant, role by role, and how."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from tasks.ingest.manifest.rows import Manifest
from tasks.problems.cells import is_empty

_FLAGS = ({"0", "1"}, {"-1", "1"})
_HINTS = 5
_BOXES = ({"xmin", "ymin", "xmax", "ymax"}, {"bbox"}, {"bboxx", "bboxy"})
"""Names of columns that give a box, in lower case and without underscores."""
_PIXELS = 60
"""More columns of numbers than a person gives names to."""


def describe_hints(hints: Mapping[str, list[str]], cells: Mapping[str, list[Any]]) -> str:
    """Role by role the settings that name the columns that could be meant; of those that say yes or no, how they are used."""
    flags = [name for name in hints.get("label", ()) if _are_flags(cells.get(name, []))]
    if len(flags) < 2:
        return _hint(hints)
    return _hint({**hints, "label": [name for name in hints["label"] if name not in flags]}) + _describe_flags(
        flags, cells
    )


def note_boxes(manifest: Manifest) -> list[str]:
    """A note where each row is a box in a picture, as exports for detection have them."""
    names = {name.strip().lower().replace("_", "") for name in manifest.columns}
    if not any(names >= box for box in _BOXES):
        return []
    return [
        f"{manifest.path.name}: its columns give boxes, so that a row is a box: pictures with boxes of one class are "
        "duplicates, those of several classes conflicting-label; write a row for each picture, with the set of its classes "
        "(data.problem=multilabel)"
    ]


def _hint(hints: Mapping[str, list[str]]) -> str:
    """Role by role the columns that could be meant, the first few."""
    found = [
        " or ".join(f"--set {shlex.quote(f'data.columns.{role}={name}')}" for name in names[:_HINTS])
        for role, names in hints.items()
        if names
    ]
    return f"; here it could be {', and '.join(found)}" if found else ""


def _are_flags(cells: list[Any]) -> bool:
    """Whether the cells say yes or no of a class, as 1 and 0."""
    return {str(cell).strip().removesuffix(".0") for cell in cells if not is_empty(cell)} in _FLAGS


def _describe_flags(names: list[str], cells: Mapping[str, list[Any]]) -> str:
    """How columns that say yes or no of a class each can be used: as one class in one-hot form, or as several labels."""
    shown = f"{', '.join(names[:_HINTS])}{', …' if len(names) > _HINTS else ''}"
    rows = zip(*(cells[name] for name in names), strict=True)
    if all([str(cell).strip().removesuffix(".0") for cell in row].count("1") == 1 for row in rows):
        return (
            f"; {shown} are one class in one-hot form: write one column that names it, with pandas "
            f"frame['label'] = frame[{names!r}].idxmax(axis=1)"
        )
    columns = shlex.quote(f"data.columns.labels={json.dumps(names, ensure_ascii=False)}")
    return f"; {shown} each say yes or no: --set {columns} takes each as a label of its own"


def describe_numbers(cells: Mapping[str, list[Any]]) -> str:
    """What to do about a table without media in which several columns hold numbers."""
    numbers = [name for name, column in cells.items() if _are_numbers(column)]
    if len(numbers) < 2:
        return ""
    if len(numbers) > _PIXELS:
        return (
            f"; {len(numbers)} columns hold numbers: where these are the pixels of a picture, write each row's as a file (with "
            "Pillow: Image.fromarray(pixels).save(path)) and its path in a column image; else data.columns.tabular names those "
            "that are an input"
        )
    shown = shlex.quote(f"data.columns.tabular={json.dumps(numbers[:_HINTS], ensure_ascii=False)}")
    return f"; columns of numbers and categories, but for the label, are an input where --set {shown} or the like names them"


def _are_numbers(column: list[Any]) -> bool:
    """Whether all filled cells are numbers, and there are some."""
    try:
        return len([float(cell) for cell in column if not is_empty(cell)]) > 0
    except (TypeError, ValueError):
        return False
