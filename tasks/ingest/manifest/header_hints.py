"""Tables whose first line is a row already: names for their columns, by what these hold, for refusals to propose."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tasks.ingest.manifest.rows import SPLITS, Manifest
from tasks.ingest.sources.listing import modality_of_file
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import DELIMITED, TABLES
from tasks.modalities import MODALITIES
from tasks.problems.cells import is_empty

_MOST_WORDS = 5
"""No name of a column has more."""
_TEXT_WORDS = 4
"""A date has three."""
_MOST_COLUMNS = 30
_TOP_ROWS = 5
"""Titles above the names of columns are few."""
_ROLES = frozenset({"id", "label", *(name for spec in MODALITIES.values() for name in spec.columns)})
_WORD = re.compile(r"[^\W\d_]{2,}")


def propose_header(manifest: Manifest, cells: Mapping[str, list[Any]]) -> str:
    """What a refusal adds where the header of a CSV file looks like a row: it holds a cell of a row below, a file, or
    a sentence. Empty for any other table.
    """
    if format_of(manifest.path.name) not in DELIMITED and format_of(manifest.path.name) in TABLES:
        return ""
    top = ((column, cell) for column in cells.values() for cell in column[:_TOP_ROWS])
    below = next((str(cell) for column, cell in top if _is_role(cell) and column.count(cell) == 1), None)
    if below is not None and not any(map(_is_role, cells)):
        return f"; a row below has {below!r}, which names a column: data.csv.skiprows says how many lines stand above the names"
    doubtful = next((name for name in cells if name in cells[name] or _is_no_name(name)), None)
    if doubtful is None:
        return ""
    if len(cells) > _MOST_COLUMNS or len(cells) < 2:
        return f"; {doubtful!r} looks like a cell: where the first line is a row already, data.csv.header names the columns"
    used: Counter[str] = Counter()
    names = []
    columns = list(manifest.columns)
    for place in manifest.unnamed:
        columns.insert(place, "")
    for place, name in enumerate(columns, start=1):
        role = _role([name, *cells.get(name, [])], place)
        used[role] += 1
        names.append(role if used[role] == 1 else f"{role}_{used[role]}" if role == "text" else f"column_{place}")
    setting = shlex.quote(f"data.csv.header={json.dumps(names)}")
    return f"; {doubtful!r} looks like a cell: where the first line is a row already, name the columns, perhaps --set {setting}"


def _is_role(cell: object) -> bool:
    """Whether a cell holds what names a column of ours."""
    return isinstance(cell, str) and cell.strip().lower() in _ROLES


def _is_no_name(name: str) -> bool:
    return modality_of_file(name) is not None or len(name.split()) > _MOST_WORDS


def _role(column: list[Any], place: int) -> str:
    """What a column may be called; its number where that is not plain."""
    texts = [str(cell).strip() for cell in column if not is_empty(cell)]
    if texts and all(text.lower() in SPLITS for text in texts):
        return "split"
    modalities = Counter(map(modality_of_file, texts))
    if modalities and (found := modalities.most_common(1)[0][0]) is not None:
        return found
    if sum(len(_WORD.findall(text)) >= _TEXT_WORDS for text in texts) * 2 > len(texts):
        return "text"
    return "label" if 1 < len(set(texts)) <= len(texts) // 4 else f"column_{place}"
