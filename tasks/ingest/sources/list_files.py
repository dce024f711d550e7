"""Lists of files that say which are train, val and test: Speech Commands' beside its class folders, UCF-101's, Food-101's."""

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
_LISTED = re.compile(r"(train|val|validation|test)(?:list(\d+))?\.txt$", re.IGNORECASE)
_SAMPLE_LINES = 200
_SHARE = 0.5
"""Of a list without a number so many lines must name media that are there: train.txt may hold anything."""
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


def split_lists(listing: Listing, allowed: tuple[str, ...]) -> dict[int, dict[str, str]]:
    """Number of a fold to its lists (file to split): trainlist01.txt and testlist01.txt, in the folder or in one below.

    Lists without a number, train.txt and test.txt, are those of fold 1 where they name media that are there.
    """
    found: dict[int, dict[str, str]] = {}
    plain: dict[str, str] = {}
    for file in (file for files in (listing.files, *listing.folders.values()) for file in files):
        named = _LISTED.match(PurePosixPath(file).name)
        if named and file.count("/") <= 1:
            lists = found.setdefault(int(named[2]), {}) if named[2] else plain
            lists[file] = SPLITS[named[1].lower()]
    if 1 not in found and len(set(plain.values())) == len(plain) > 1:
        places = _places(listing)
        if places and all(_names_media(listing, name, places, allowed) for name in plain):
            found[1] = plain
    return {number: lists for number, lists in found.items() if "train" in lists.values()}


def _places(listing: Listing) -> dict[str, str]:
    """The last two parts, or the last one, of a path, with or without its ending, to the medium; no texts: lists are some."""
    media = [PurePosixPath(file) for file in listing.media if modality_of_file(file) not in (None, "text")]
    return {
        "/".join(parts[-depth:]): str(path)
        for depth in (1, 2)
        for path in media
        for parts in (path.with_suffix("").parts, path.parts)
    }


def _place(name: str, places: dict[str, str]) -> str | None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return places.get("/".join(parts[-2:])) or (places.get(parts[-1]) if parts else None)


def _names_media(listing: Listing, name: str, places: dict[str, str], allowed: tuple[str, ...]) -> bool:
    listing.require_inside(name, allowed)
    lines = _lines(listing, name)[:_SAMPLE_LINES]
    return sum(_place(_divide(line)[0], places) is not None for line in lines) >= max(1, _SHARE * len(lines))


def _divide(line: str) -> tuple[str, str]:
    """The file and the number of its class, which a line may end with."""
    name, _, index = line.partition(" ") if line.rpartition(" ")[2].isdigit() else (line, "", "")
    return name, index.strip()


def open_listed(listing: Listing, number: int, allowed: tuple[str, ...]) -> Manifest:
    """A row for each file that the lists of this number name. UsageError where there is no such list; DataError for empty ones.

    The label is the folder in a line, else the class of its number; clips of one scene are one group.
    """
    folds = split_lists(listing, allowed)
    if number not in folds:
        known = ", ".join(map(str, sorted(folds)))
        raise UsageError(
            f"data {str(listing.path)!r}: split.list_fold={number}, and its lists have the numbers {known}; choose one of them"
        )
    lists = folds[number]
    for name in lists:
        listing.require_inside(name, allowed)
    classes = _classes(listing, next(iter(lists)), allowed)
    places = _places(listing)
    entries = [(split, line) for name, split in lists.items() for line in _lines(listing, name)]
    if not entries:
        raise DataError(f"data {listing.path}: {', '.join(lists)} name no files")
    kinds = Counter(modality_of_file(_place(_divide(line)[0], places) or line.split()[0]) for _, line in entries)
    column = f"{kinds.most_common(1)[0][0] or 'video'}_path"
    rows = list(_rows(entries, places, _numbered_folders(entries) | classes, column))
    unlisted = len(set(places.values()) - {row.values[column] for row in rows})
    notes = [f"splits are those of {' and '.join(sorted(lists))} (split.list_fold)"]
    notes += [f"{unlisted} files that neither list names are left out"] if unlisted else []
    columns = ("id", "label", column, "split", "group")
    return Manifest(listing.path, listing.path, columns, iter(rows), tuple(notes), count=len(rows))


def _rows(
    entries: list[tuple[str, str]], places: dict[str, str], classes: dict[str, str], column: str
) -> Iterator[Row]:
    for row, (split, line) in enumerate(entries, start=1):
        name, index = _divide(line)
        path = PurePosixPath(name.replace("\\", "/"))
        label = path.parent.name or classes.get(index)
        place = _place(name, places) or str(path)
        scene = _SCENE.match(path.stem)
        values = {"id": str(path), "label": label, column: place, "split": split}
        yield Row(row, values | ({"group": scene[1]} if scene else {}))


def _numbered_folders(entries: list[tuple[str, str]]) -> dict[str, str]:
    """Number of a class to the folder of its files, where it goes with one only: val.txt of ImageNet has numbers alone."""
    found: dict[str, set[str]] = {}
    for _, line in entries:
        name, index = _divide(line)
        folder = PurePosixPath(name.replace("\\", "/")).parent.name
        if index and folder:
            found.setdefault(index, set()).add(folder)
    return {index: next(iter(folders)) for index, folders in found.items() if len(folders) == 1}


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
