"""Files that are not where their cells say: looked for once, taken where every one of a column is found, else noted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import NamedTuple

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from tasks.ingest.manifest.media_files import Located, Roots, locate_file
from tasks.ingest.manifest.media_index import MediaIndex, names_several
from tasks.ingest.manifest.raw_rows import RawRow, RawRows
from tasks.ingest.manifest.written_media import written_medium
from tasks.ingest.rejected_row import Refused

FOUND = "found_elsewhere"
"""Key of a located row under which the cells stand whose files were found elsewhere: input to cell."""
_SETTINGS = "data.media.base, prefix and suffix say where cells begin and end"


@dataclass(frozen=True)
class FoundElsewhere:
    """A file that a cell means, though it lies at another place."""

    located: Located
    cell: str


def locate_near(
    cell: str, name: InputName, roots: Roots, index: MediaIndex, *, search: bool
) -> Located | FoundElsewhere:
    """As locate_file; with `search` a missing file is looked for. Refused `missing-file` says what was tried, and the nearest
    file."""
    try:
        return locate_file(cell, roots)
    except Refused as refused:
        is_elsewhere = refused.reason == "path-outside" and os.path.isabs(cell) and not os.path.lexists(cell)  # noqa: PTH117
        if refused.reason != "missing-file" and not is_elsewhere:  # a path of the machine that wrote the manifest
            raise
        found = index.find(cell, modality_of(name)) if search else None
        if found is not None:
            try:
                return FoundElsewhere(locate_file(found, roots), cell)
            except Refused:
                pass
        hint = ""
        if (kind := written_medium(cell)) is not None:
            raise Refused(
                "missing-file",
                f"the cell holds {kind} in base64, which is not read: write it as a file, and name its path, or write Parquet "
                f"with a column of bytes ({_tried(cell, roots)[:60]}…)",
            ) from None
        if names_several(cell):
            hint = f"; the cell names several files: give each a column of its own ({name}, {modality_of(name)}_2 …), "
            hint += "or set data.cell_separator to make each a row"
        elif outside := index.beside(cell):
            hint = f"; {outside} lies beyond the manifest's folder: name its folder in data.allowed_roots"
        elif near := index.nearest(cell):
            hint = f"; nearest is {near}"
        what = "no such file" if is_elsewhere else refused.detail
        raise Refused("missing-file", f"{what}: {_tried(cell, roots)}{hint}; {_SETTINGS}") from None


def _tried(cell: str, roots: Roots) -> str:
    return (cell if cell.startswith("/") else f"{roots.base.rstrip('/')}/{cell}")[:300]


class PathForm(NamedTuple):
    """What cells leave out, as data.media has it."""

    base: str
    suffix: str


@dataclass
class Search:
    """What was found elsewhere, over all rows."""

    found: dict[InputName, dict[int, str]] = field(default_factory=dict)
    """Input to position of a row to its cell."""
    forms: dict[InputName, PathForm] = field(default_factory=dict)
    """Where all files of an input are found by adding one base and suffix to their cells: what these are."""
    missed: bool = False
    """Whether some file is found by looking for it only."""
    _rows: int = 0

    def note(self, rows: list[RawRow]) -> list[RawRow]:
        """The rows, whose findings are kept apart; called with all of them in order."""
        for position, row in enumerate(rows, start=self._rows):
            for name, cell in row.pop(FOUND, {}).items():
                self.found.setdefault(name, {})[position] = cell
        self._rows += len(rows)
        return rows

    def resolve(self, table: RawRows, root: str) -> list[str]:
        """Notes on the raw rows: what was found elsewhere stays where every file of its column is there and no two cells
        mean one file; else those rows are `missing-file`.
        """
        notes = []
        for name, cells in self.found.items():
            places = table[name].to_pylist()
            missing = sum(
                reason == "missing-file" and blamed == name
                for reason, blamed in zip(table["reason"].to_pylist(), table["bad_modality"].to_pylist(), strict=True)
            )
            meant: dict[str, set[str]] = {}
            for position, place in enumerate(places):
                if place is not None:
                    meant.setdefault(place, set()).add(cells.get(position, ""))
            shared = sum(len(spelt) > 1 for spelt in meant.values())
            first = min(cells)
            example = f"{cells[first]!r} is {places[first]}"
            if not missing and not shared:
                form = _form_of(cells, places, root)
                self.forms |= {} if form is None else {name: form}
                self.missed |= form is None
                notes.append(
                    f"{name}: {len(cells)} files are not where their cells say and were found: {example} ({_SETTINGS})"
                )
            else:
                why = (
                    f"{missing} others were not found" if missing else f"{shared} files would be meant by several cells"
                )
                _refuse(table, name, cells, f"{{cell}}: no such file; {{place}} was found, but {why}; {_SETTINGS}")
                notes.append(
                    f"{name}: {len(cells)} files that are not where their cells say were found, but {why}: {example}"
                )
        return notes


def _form_of(cells: dict[int, str], places: list[str | None], root: str) -> PathForm | None:
    """The folder before and the ending behind the cells of all places, beneath the root; None where there is no such one."""
    if len(cells) < sum(place is not None for place in places):
        return None
    forms = set()
    for position, cell in cells.items():
        place = str(places[position])
        inner = place.removeprefix(f"{root.rstrip('/')}/")
        before, found, suffix = inner.rpartition(cell)
        if not found or before.startswith("/") or (before and not before.endswith("/")):
            return None
        forms.add(PathForm(before.rstrip("/"), suffix))
    return forms.pop() if len(forms) == 1 else None


def _refuse(table: RawRows, name: InputName, cells: dict[int, str], detail: str) -> None:
    """These rows are refused for want of their file."""
    columns = {
        column: table[column].to_pylist() for column in (name, f"{name}_sha256", "reason", "detail", "bad_modality")
    }
    for position, cell in cells.items():
        place = columns[name][position]
        columns[name][position], columns[f"{name}_sha256"][position] = cell[:500], None
        if columns["reason"][position] is None:
            columns["reason"][position], columns["bad_modality"][position] = "missing-file", name
            columns["detail"][position] = detail.format(cell=cell, place=place)
    for column, values in columns.items():
        table.replace(column, values)
