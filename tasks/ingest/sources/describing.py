"""Which table in a folder describes the files in it: one of its columns names them."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from tasks.errors import CrossmodalError
from tasks.ingest.manifest.rows import Manifest
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import Listing
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import open_table

SAMPLE_ROWS = 200
_FORM = re.compile(r"submission(?:[-_ ]?(?:format|example|file|v?\d+))?\.[a-z.]+$", re.IGNORECASE)
_SHARE = 0.5
"""Of a column's filled cells so many must name files that are there: some may be missing, as everywhere."""


def describing_tables(listing: Listing, limits: ReadLimits) -> tuple[list[Manifest], list[str]]:
    """The tables of a folder that name its media, opened, with that folder as the one that media may lie in; and the names of
    the others. JSON that is no table of rows, as settings are, and forms for answers are among neither.
    """
    names = known_names(listing.media)
    found: list[Manifest] = []
    others: list[str] = []
    for table in listing.tables:
        if is_form(table):
            continue
        try:
            manifest = open_table(listing.path / table, limits)
        except CrossmodalError:
            others += [] if format_of(table) == ".json" else [table]
            continue
        manifest, rows = peek(manifest)
        if any(share_of_files((row.get(column) for row in rows), names) >= _SHARE for column in manifest.columns):
            found.append(replace(manifest, root=listing.path))
        else:
            others.append(table)
    return found, others


def is_form(table: str) -> bool:
    """Whether a table is a competition's form for answers, by its name (sample_submission.csv): its labels are none."""
    return _FORM.search(PurePosixPath(table).name) is not None


def peek(manifest: Manifest) -> tuple[Manifest, list[dict[str, object]]]:
    """The manifest, not yet read, and the values of its first rows."""
    rows = iter(manifest.rows)
    first = list(itertools.islice(rows, SAMPLE_ROWS))
    return replace(manifest, rows=itertools.chain(first, rows)), [row.values for row in first]


def known_names(files: Iterable[str]) -> frozenset[str]:
    """Names by which a cell may mean one of the files: its file name, with and without the ending."""
    names = {_folded(PurePosixPath(file).name) for file in files}
    return frozenset(names | {PurePosixPath(name).stem for name in names})


def share_of_files(cells: Iterable[object], names: frozenset[str]) -> float:
    """The share of the filled cells whose last part is one of the names; 0 where none is filled."""
    filled = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    named = sum(_folded(PurePosixPath(cell.replace("\\", "/").strip()).name) in names for cell in filled)
    return named / len(filled) if filled else 0.0


def _folded(name: str) -> str:
    """The name without differences that the search for a file passes over: of case and of Unicode form."""
    return unicodedata.normalize("NFC", name).casefold()
