"""Lists without a header that name the files of a folder, for refusals: how such a list is read as a table."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import PurePosixPath
from typing import NamedTuple

from tasks.ingest.sources.describing import known_names, share_of_files
from tasks.ingest.sources.listing import Listing, main_modality, modality_of_file

_ENDINGS = (".txt", ".lst", "")
_MOST_LISTS = 40
_HEAD_BYTES = 64 << 10
_SHARE = 0.5
"""Of the lines of a list so many must name a file that is there."""
_MOST_LINES = 1_000
_LINE_CHARS = 60


class _List(NamedTuple):
    """What the first lines of a list hold."""

    width: int
    """Of most lines, in words."""
    column: int
    """Which of the words names a file."""
    skipped: int
    """Lines before the first of that width."""
    line: str
    name: str


def describe_list(listing: Listing) -> str | None:
    """The widest list in whose lines one word names a medium, and the settings that read it as a table; None where there is
    none. Texts are no media here, as lists are some.
    """
    media = [file for file in listing.media if modality_of_file(file) != "text"]
    names = known_names(media)
    files = [file for held in (listing.files, *listing.folders.values()) for file in held]
    lists = [file for file in files if PurePosixPath(file).suffix.lower() in _ENDINGS]
    lists = [file for file in lists if PurePosixPath(file).stem.casefold() not in names][:_MOST_LISTS]
    found = [read for file in lists if (read := _read(listing, file, names)) is not None]
    if not found:
        return None
    best = max(found, key=lambda each: each.width)
    header = [f"column_{place}" for place in range(1, best.width + 1)]
    header[best.column] = main_modality(media) or "image"
    settings = [
        f"data.table={best.name}",
        "data.csv.delimiter=" + ("tab" if "\t" in best.line else " "),
        *(["data.csv.skipinitialspace=true"] if "\t" not in best.line else []),
        *([f"data.csv.skiprows={best.skipped}"] if best.skipped else []),
        f"data.csv.header={json.dumps(header)}",
        "data.columns.label=COLUMN",
    ]
    given = " ".join(f"--set {shlex.quote(setting)}" for setting in settings)
    return (
        f"{best.name} names files that are here ({best.line[:_LINE_CHARS]!r}): where one of its columns is the label, "
        f"--data {listing.path} {given}"
    )


def _read(listing: Listing, file: str, names: frozenset[str]) -> _List | None:
    """What a list holds; None where it names no media, or nothing else."""
    path = listing.path / file
    if path.is_symlink() or not path.is_file():  # what it holds would be shown
        return None
    with path.open("rb") as opened:
        lines = opened.read(_HEAD_BYTES).decode("utf-8", "replace").splitlines()[:_MOST_LINES]
    rows = [line.split("\t" if "\t" in line else None) for line in lines]
    widths = Counter(len(row) for row in rows if row)
    width = max(widths, key=lambda each: widths[each], default=0)
    fitting = [place for place, row in enumerate(rows) if len(row) == width]
    for column in range(width) if width > 1 else ():
        if share_of_files((rows[place][column] for place in fitting), names) >= _SHARE:
            first = next(place for place in fitting if share_of_files([rows[place][column]], names))
            return _List(width, column, first, lines[first].strip(), file)
    return None
