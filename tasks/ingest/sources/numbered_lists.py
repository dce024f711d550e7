"""Lists that number their files, as CUB-200's: images.txt (number, path), and beside it labels and the split by number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tasks.errors import DataError
from tasks.ingest.manifest.rows import Manifest, Row
from tasks.ingest.sources.list_files import list_lines
from tasks.ingest.sources.listing import Listing, main_modality

FILES, SPLIT = "images.txt", "train_test_split.txt"
"""Number and path of each file; number and 1 for train, 0 for test."""
LABELS, NAMES = "image_class_labels.txt", "classes.txt"
"""Number of a file and that of its class; number and name of each class."""
_FOLDER = "images"
"""Where the paths begin; else in the folder of the lists."""
_SPLITS = {"1": "train", "0": "test"}


def is_numbered(listing: Listing) -> bool:
    """Whether a folder holds such lists, and media."""
    return bool(listing.media) and {FILES, SPLIT} <= set(listing.files)


def open_numbered(listing: Listing, allowed: tuple[str, ...]) -> Manifest:
    """A row for each file that is numbered. DataError for a line that is no number and value, and for a number that the
    list of splits, or of labels, lacks.
    """
    read = [name for name in (FILES, SPLIT, LABELS, NAMES) if name in listing.files]
    lists = {name: _numbered(listing, name, allowed) for name in read}
    base = f"{_FOLDER}/" if _FOLDER in listing.folders else ""
    column = f"{main_modality(lists[FILES].values()) or 'image'}_path"
    for name, values in ((SPLIT, _SPLITS), (LABELS, lists.get(NAMES))):
        unnamed = next((value for value in lists.get(name, {}).values() if values and value not in values), None)
        if unnamed is not None:
            known = f"one of {', '.join(_SPLITS)}" if name == SPLIT else f"a number of {NAMES}"
            raise DataError(f"data {listing.path}: {name} holds {unnamed!r}, which is not {known}")
    notes = (f"{', '.join(read)} are read: files, splits and labels go by their numbers",)
    rows = _rows(listing.path, lists, base, column)
    columns = ("id", "label", column, "split")
    return Manifest(listing.path, listing.path, columns, rows, notes, of_lists=True, count=len(lists[FILES]))


def _rows(path: Path, lists: dict[str, dict[str, str]], base: str, column: str) -> Iterator[Row]:
    names = lists.get(NAMES, {})
    for row, (number, file) in enumerate(lists[FILES].items(), start=1):
        lacking = next((name for name in (SPLIT, LABELS) if name in lists and number not in lists[name]), None)
        if lacking is not None:
            raise DataError(f"data {path}: {lacking} lacks the number {number}, which {FILES} gives to {file}")
        label = file.rpartition("/")[0].rpartition("/")[2]
        if LABELS in lists:
            label = names.get(lists[LABELS][number], lists[LABELS][number])
        yield Row(row, {"id": number, "label": label, column: base + file, "split": _SPLITS[lists[SPLIT][number]]})


def _numbered(listing: Listing, name: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """Number to value, of the lines of a list."""
    listing.require_inside(name, allowed)
    found: dict[str, str] = {}
    for place, line in list_lines(listing, name):
        number, _, value = line.partition(" ")
        if value and number not in found:
            found[number] = value.strip().replace("\\", "/")
        else:
            raise DataError(
                f"data {listing.path}: {name} line {place}: {line[:80]!r} is not a number of its own, a space, and "
                "a value"
            )
    return found
