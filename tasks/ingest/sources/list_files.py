"""Lists of files that say which are train, val and test: Speech Commands' beside its class folders, and UCF-101's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import SPLITS, Manifest, Row
from tasks.ingest.sources.listing import Listing, modality_of_file

LISTS = {"validation_list.txt": "val", "testing_list.txt": "test"}
"""File to the split of what it lists; anything else is train."""
NOISE = "_background_noise_"
"""A folder of long recordings to be mixed in: no class."""
_SPEAKER = re.compile(r"(.+)_nohash_\d+$")
_MAX_BYTES = 64 << 20
_NUMBERED = re.compile(r"(train|val|validation|test)list(\d+)\.txt$", re.IGNORECASE)
_CLASSES = "classInd.txt"
_SCENE = re.compile(r"(.+_g\d+)_c\d+$")
"""UCF-101 cuts several clips, c01 and on, of one scene."""


def listed_splits(listing: Listing) -> dict[str, str]:
    """File to its split, for all that the lists beside the class folders name; empty where there is no list."""
    found: dict[str, str] = {}
    for name in LISTS.keys() & set(listing.files):
        found |= {line.removeprefix("./").replace("\\", "/"): LISTS[name] for line in _lines(listing, name)}
    return found


def speaker_of(file: str) -> str | None:
    """Who speaks in SPEAKER_nohash_N.wav; None for another name."""
    found = _SPEAKER.match(PurePosixPath(file).stem)
    return found[1] if found else None


def numbered_lists(listing: Listing) -> dict[int, dict[str, str]]:
    """Number of a fold to its lists (file to split): trainlist01.txt and testlist01.txt, in the folder or in one below."""
    found: dict[int, dict[str, str]] = {}
    for file in (file for files in (listing.files, *listing.folders.values()) for file in files):
        named = _NUMBERED.match(PurePosixPath(file).name)
        if named and file.count("/") <= 1:
            found.setdefault(int(named[2]), {})[file] = SPLITS[named[1].lower()]
    return {number: lists for number, lists in found.items() if "train" in lists.values()}


def open_listed(listing: Listing, number: int, allowed: tuple[str, ...]) -> Manifest:
    """A row for each file that the lists of this number name. UsageError where there is no such list; DataError for empty ones.

    The label is the folder in a line, else the class of its number; clips of one scene are one group.
    """
    folds = numbered_lists(listing)
    if number not in folds:
        known = ", ".join(map(str, sorted(folds)))
        raise UsageError(
            f"data {str(listing.path)!r}: split.list_fold={number}, and its lists have the numbers {known}; choose one of them"
        )
    lists = folds[number]
    for name in lists:
        listing.require_inside(name, allowed)
    classes = _classes(listing, next(iter(lists)), allowed)
    media = [file for file in listing.media if modality_of_file(file) not in (None, "text")]
    places = {"/".join(file.split("/")[-depth:]): file for depth in (1, 2) for file in media}
    entries = [(split, line) for name, split in lists.items() for line in _lines(listing, name)]
    if not entries:
        raise DataError(f"data {listing.path}: {', '.join(lists)} name no files")
    kinds = Counter(modality_of_file(line.split()[0]) for _, line in entries)
    column = f"{kinds.most_common(1)[0][0] or 'video'}_path"
    rows = list(_rows(entries, places, classes, column))
    unlisted = len(set(media) - {row.values[column] for row in rows})
    notes = [f"splits are those of {' and '.join(sorted(lists))} (split.list_fold)"]
    notes += [f"{unlisted} files that neither list names are left out"] if unlisted else []
    columns = ("id", "label", column, "split", "group")
    return Manifest(listing.path, listing.path, columns, iter(rows), tuple(notes), count=len(rows))


def _rows(
    entries: list[tuple[str, str]], places: dict[str, str], classes: dict[str, str], column: str
) -> Iterator[Row]:
    for row, (split, line) in enumerate(entries, start=1):
        name, _, index = line.partition(" ") if line.rpartition(" ")[2].isdigit() else (line, "", "")
        path = PurePosixPath(name.replace("\\", "/"))
        label = path.parent.name or classes.get(index.strip())
        place = places.get("/".join(path.parts[-2:])) or places.get(path.name) or str(path)
        scene = _SCENE.match(path.stem)
        values = {"id": str(path), "label": label, column: place, "split": split}
        yield Row(row, values | ({"group": scene[1]} if scene else {}))


def _classes(listing: Listing, beside: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """Number of a class to its name, of the file beside the lists."""
    name = str(PurePosixPath(beside).with_name(_CLASSES))
    if not (listing.path / name).is_file():
        return {}
    listing.require_inside(name, allowed)
    return dict(line.split(maxsplit=1) for line in _lines(listing, name) if len(line.split()) > 1)


def _lines(listing: Listing, name: str) -> list[str]:
    """The filled lines of a list, without the spaces around them."""
    with (listing.path / name).open("rb") as file:
        lines = file.read(_MAX_BYTES).decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip()]
