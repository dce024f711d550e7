"""Several media in one cell, `front.jpg;back.jpg`: where data.cell_separator says so, each is a row, and all are one group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from tasks.ingest.manifest.label_sets import read_list
from tasks.ingest.manifest.rows import Cells, Manifest, Row
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import MODALITY_OF, modality_of_file

_IDS = ("id", "sample_id")
_GROUP = "group"


def count_divided(rows: Iterable[Row], limits: ReadLimits) -> Counter[str]:
    """How many `rows` there are, `divided` ones among them, and rows `after` that."""
    counts: Counter[str] = Counter()
    for row in rows:
        parts = len(_divide(row, limits))
        counts += Counter(rows=1, divided=int(parts > 1), after=parts)
    return counts


def divide_cells(manifest: Manifest, limits: ReadLimits, counts: Counter[str]) -> Manifest:
    """The manifest with a row for each medium of a cell; `counts`: what count_divided found in its rows.

    Such rows have the values and the number of theirs, an id with a number, and one group: its own, else its id or number.
    """
    if not counts["divided"]:
        note = f"data.cell_separator={limits.cell_separator!r}: no cell of {manifest.path.name} holds several media"
        return replace(manifest, notes=(*manifest.notes, note))
    lowered = {name.strip().lower(): name for name in reversed(manifest.columns)}
    own_id = limits.columns.id or next((lowered[name] for name in _IDS if name in lowered), None)
    group = limits.columns.group or lowered.get(_GROUP, _GROUP)
    media = counts["after"] - counts["rows"] + counts["divided"]
    note = (
        f"{manifest.path.name}: {counts['divided']} of {counts['rows']} rows hold several media in a cell, {media} in all; "
        "each is a row, those of one row are one group (data.cell_separator)"
    )
    rows = (
        _as_member(part, number, own_id, group, manifest.path.name) if len(parts) > 1 else part
        for parts in (_divide(row, limits) for row in manifest.rows)
        for number, part in enumerate(parts, start=1)
    )
    columns = manifest.columns if group in manifest.columns else (*manifest.columns, group)
    return replace(manifest, columns=columns, rows=rows, notes=(*manifest.notes, note), count=counts["after"])


def _as_member(row: Row, number: int, own_id: str | None, group: str, table: str) -> Row:
    """A row that was divided, with an id of its own, and the group of all of them."""
    cell = None if own_id is None else row.values.get(own_id)
    whole = f"row {row.number}" if cell in (None, "") else str(cell)
    values = row.values | ({own_id: f"{cell}#{number}"} if own_id is not None and cell not in (None, "") else {})
    return replace(row, values=values if values.get(group) not in (None, "") else values | {group: f"{table}: {whole}"})


def _divide(row: Row, limits: ReadLimits) -> list[Row]:
    """A row for each medium; the row itself where its cells hold one each, refused where they do not pair up."""
    lists = {} if row.reason is not None else dict(_lists(row.values, limits))
    sizes = {len(parts) for parts in lists.values()}
    if len(sizes) > 1:
        counts = ", ".join(f"{len(parts)} in {name!r}" for name, parts in lists.items())
        detail = f"its cells hold different numbers of media ({counts}), which do not pair up"
        return [replace(row, reason="wrong-type", detail=detail)]
    places = range(sizes.pop()) if sizes else range(0)
    return [
        replace(row, values=row.values | {name: parts[place] for name, parts in lists.items()}) for place in places
    ] or [row]


def _lists(values: Cells, limits: ReadLimits) -> Iterator[tuple[str, list[str]]]:
    """Column and media of each cell that holds several: all end as media do, or the column is one of media by the config."""
    named = {
        name for modality in set(MODALITY_OF.values()) if modality != "text" for name in limits.columns.of(modality)
    }
    for name, cell in values.items():
        parts = _parts(cell, str(limits.cell_separator))
        if len(parts) > (not isinstance(cell, list)) and (name in named or all(map(modality_of_file, parts))):
            yield name, parts


def _parts(cell: Any, separator: str) -> list[str]:
    """What a cell names: the items of a list, also of one that is written out, else what stands between separators."""
    found = read_list(cell) if isinstance(cell, str) and cell.lstrip().startswith("[") else cell
    if isinstance(found, list):
        return [item.strip() for item in found] if all(isinstance(item, str) for item in found) else []
    is_divided = isinstance(cell, str) and separator in cell
    return [part.strip() for part in cell.split(separator) if part.strip()] if is_divided else []
