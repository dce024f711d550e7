"""Lists of files that say which are train, val and test: Speech Commands' beside its class folders, UCF-101's, Food-101's."""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import SPLITS, Manifest, Row
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import Listing, modality_of_file
from tasks.ingest.sources.sample_parts import is_class_name, parts_error, refuse_parts

LISTS = {"validation_list.txt": "val", "testing_list.txt": "test"}
"""File to the split of what it lists; anything else is train."""
NOISE = "_background_noise_"
"""A folder of long recordings to be mixed in: no class."""
_SPEAKER = re.compile(r"(.+)_nohash_\d+$")
MAX_BYTES = 256 << 20
"""The most that is read of a list."""
_LISTED = re.compile(r"(train|val|validation|test)(?:(list)?(\d+))?\.(?:txt|lst)$", re.IGNORECASE)
_SAMPLE_LINES = 200
_SHARE = 0.5
"""Of a list without a number so many lines must name media that are there: train.txt may hold anything."""
_CLASSES = "classInd.txt"
_SCENE = re.compile(r"(.+_g\d+)_c\d+$")
"""UCF-101 cuts several clips, c01 and on, of one scene."""
_NUMBERED = re.compile(r"(.*\S)\s+(\d+)")
"""A file and the number of its class."""
_OF_MXNET = re.compile(r"\d+\t(\d+)(?:\.0*)?\t(.*\S)")
"""A number of the line, that of its class, and a file."""


def listed_splits(listing: Listing) -> dict[str, str]:
    """File to its split, for all that the lists beside the class folders name; empty where there is no list."""
    found: dict[str, str] = {}
    for name in LISTS.keys() & set(listing.files):
        found |= {line.removeprefix("./").replace("\\", "/"): LISTS[name] for _, line in list_lines(listing, name)}
    return found


def speaker_of(file: str) -> str | None:
    """Who speaks in SPEAKER_nohash_N.wav; None for another name."""
    found = _SPEAKER.match(PurePosixPath(file).stem)
    return found[1] if found else None


def split_lists(listing: Listing, allowed: tuple[str, ...]) -> dict[int, dict[str, str]]:
    """Number of a fold to its lists (file to split): trainlist01.txt and testlist01.txt, in the folder or in one below.

    The same for train1.txt and test1.txt, and for train.txt and test.txt as fold 1, where they name media that are there.
    """
    found: dict[int, dict[str, str]] = {}
    plain: dict[int, dict[str, str]] = {}
    for file in (file for files in (listing.files, *listing.folders.values()) for file in files):
        named = _LISTED.match(PurePosixPath(file).name)
        if named and file.count("/") <= 1:
            of_number = (found if named[2] else plain).setdefault(int(named[3] or 1), {})
            of_number[file] = SPLITS[named[1].lower()]
    media = _Media(listing) if plain.keys() - found.keys() else None
    for number, lists in plain.items():
        is_set = number not in found and len(set(lists.values())) == len(lists) > 1
        if media and media.files and is_set and all(_names_media(listing, name, media, allowed) for name in lists):
            found[number] = lists
    return {number: lists for number, lists in found.items() if "train" in lists.values()}


class _Media:
    """The media beneath a data folder but for texts, as lists are some; found by what a list writes for them."""

    def __init__(self, listing: Listing) -> None:
        self.files = {file for file in listing.media if modality_of_file(file) != "text"}
        self._without_ending: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        """By the last part of their paths, with and without its ending."""
        for file in sorted(self.files):
            path = PurePosixPath(file)
            self._without_ending[str(path.with_suffix(""))].append(file)
            for name in (path.name, path.stem):
                self._by_name[name].append(file)
        self._folders = {part for file in self.files for part in PurePosixPath(file).parent.parts}

    def find(self, name: str, named_in: str) -> list[str]:
        """The file of that path from the folder of the list, or from the data folder; else those that share the most parts
        with it, counted from the end. Several where nothing says which is meant.

        None shares enough where the next part of the name is a folder here: train/cat/0.png is never test/cat/0.png.
        """
        name = name.replace("\\", "/")
        for start in (posixpath.dirname(named_in), ""):
            path = posixpath.normpath(posixpath.join(start, name))
            if path in self.files:
                return [path]
            if path in self._without_ending:
                return self._without_ending[path]
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..")]
        alike = self._by_name.get(parts[-1], []) if parts else []
        shared = {file: _shared(PurePosixPath(file).parent.parts, parts[:-1]) + 1 for file in alike}
        longest = max(shared.values(), default=0)
        if longest < len(parts) and parts[-longest - 1] in self._folders:
            return []
        return [file for file in alike if shared[file] == longest]


def _shared(some: Sequence[str], others: Sequence[str]) -> int:
    """How many parts are the same, from the last one on."""
    pairs = enumerate(zip(reversed(some), reversed(others), strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(some), len(others)))


class _Entry(NamedTuple):
    """A line of a list."""

    split: str
    name: str
    """The file, as it is written there."""
    number: str
    """The number of its class; empty where there is none."""
    place: str | None
    """The medium that it is; None where there is none."""

    @property
    def folder(self) -> str:
        """The folder that the line gives, where it may be a class by its name."""
        folder = self.path.parent.name
        return folder if is_class_name(folder) else ""

    @property
    def path(self) -> PurePosixPath:
        """The name with the slashes of paths here."""
        return PurePosixPath(self.name.replace("\\", "/"))


def _names_media(listing: Listing, name: str, media: _Media, allowed: tuple[str, ...]) -> bool:
    listing.require_inside(name, allowed)
    lines = list_lines(listing, name, whole=False)[:_SAMPLE_LINES]
    return sum(bool(_divide(line, name, media)[2]) for _, line in lines) >= max(1, _SHARE * len(lines))


def _divide(line: str, named_in: str, media: _Media) -> tuple[str, str, list[str]]:
    """The file of a line, the number of its class, which the line may end with, and the media that it may be."""
    of_mxnet = _OF_MXNET.fullmatch(line)
    if of_mxnet:
        return of_mxnet[2], of_mxnet[1], media.find(of_mxnet[2], named_in)
    whole = media.find(line, named_in)
    numbered = None if whole else _NUMBERED.fullmatch(line)
    return (numbered[1], numbered[2], media.find(numbered[1], named_in)) if numbered else (line, "", whole)


def _read_entries(listing: Listing, lists: dict[str, str], media: _Media) -> Iterator[_Entry]:
    """The lines of all lists. DataError for one that may mean several files."""
    for file, split in lists.items():
        for number, line in list_lines(listing, file):
            name, index, places = _divide(line, file, media)
            if len(places) > 1:
                more = f" (and {len(places) - 3} more)" if len(places) > 3 else ""
                raise DataError(
                    f"data {listing.path}: {file} line {number}: {name!r} may be {' or '.join(places[:3])}{more}; write "
                    "its path from the data folder in the list"
                )
            yield _Entry(split, name, index, places[0] if places else None)


def open_listed(listing: Listing, limits: ReadLimits) -> Manifest:
    """A row for each file that the lists of limits.list_fold name. UsageError where there is no such list; DataError for empty
    ones, for a line that may mean several files, and where no line says a class and folders are parts of samples.

    Clips of one scene are one group.
    """
    number, allowed = limits.list_fold, limits.allowed_roots
    folds = split_lists(listing, allowed)
    if number not in folds:
        known = ", ".join(map(str, sorted(folds)))
        raise UsageError(
            f"data {str(listing.path)!r}: split.list_fold={number}, and its lists have the numbers {known}; choose one of them"
        )
    lists = folds[number]
    for name in lists:
        listing.require_inside(name, allowed)
    media = _Media(listing)
    entries = list(_read_entries(listing, lists, media))
    if not entries:
        raise DataError(f"data {listing.path}: {', '.join(lists)} name no files")
    labels = _labels(entries, _classes(listing, next(iter(lists)), allowed))
    if limits.labelled and not any(labels):
        _refuse_parts(listing, entries)
    kinds = Counter(modality_of_file(entry.place or entry.name) for entry in entries)
    column = f"{kinds.most_common(1)[0][0] or 'video'}_path"
    unlisted = len(media.files - {entry.place for entry in entries})
    notes = [f"splits are those of {' and '.join(sorted(lists))} (split.list_fold)"]
    notes += [f"{unlisted} files that neither list names are left out"] if unlisted else []
    columns = ("id", "label", column, "split", "group")
    return Manifest(
        listing.path,
        listing.path,
        columns,
        _rows(entries, labels, column),
        tuple(notes),
        of_lists=True,
        count=len(entries),
    )


def _rows(entries: list[_Entry], labels: list[str | None], column: str) -> Iterator[Row]:
    for row, (entry, label) in enumerate(zip(entries, labels, strict=True), start=1):
        path = entry.path
        scene = _SCENE.match(path.stem)
        values = {"id": str(path), "label": label, column: entry.place or str(path), "split": entry.split}
        yield Row(row, values | ({"group": scene[1]} if scene else {}))


def _labels(entries: list[_Entry], classes: dict[str, str]) -> list[str | None]:
    """The class of each line: its folder, or that of its number where the line gives no folder (val.txt of ImageNet).

    Where folders and numbers do not go one with one, or a number has neither folder nor name, numbers are the classes, by
    the names that `classes` has for them.
    """
    pairs = {(entry.number, entry.folder) for entry in entries if entry.number and entry.folder}
    named = classes | dict(pairs)
    is_one_to_one = len(pairs) == len({number for number, _ in pairs}) == len({folder for _, folder in pairs})
    if is_one_to_one and all(entry.number in named for entry in entries if entry.number):
        return [entry.folder or named.get(entry.number) for entry in entries]
    return [classes.get(entry.number, entry.number) or None for entry in entries]


def _refuse_parts(listing: Listing, entries: list[_Entry]) -> None:
    """Raises DataError where the folders in the lines are splits, or parts of samples."""
    folders = sorted({entry.path.parent.name for entry in entries} - {""})
    if folders:
        refuse_parts(listing)
        raise parts_error(listing, folders)


def _classes(listing: Listing, beside: str, allowed: tuple[str, ...]) -> dict[str, str]:
    """Number of a class to its name, of the file beside the lists."""
    name = str(PurePosixPath(beside).with_name(_CLASSES))
    if not (listing.path / name).is_file():
        return {}
    listing.require_inside(name, allowed)
    return dict(line.split(maxsplit=1) for _, line in list_lines(listing, name) if len(line.split()) > 1)


def list_lines(listing: Listing, name: str, whole: bool = True) -> list[tuple[int, str]]:
    """The filled lines of a list, without the spaces around them, each with its number. DataError where it is too large to
    be read `whole`."""
    with (listing.path / name).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if whole and len(content) > MAX_BYTES:
        raise DataError(
            f"data {listing.path}: {name} is larger than {MAX_BYTES:,} bytes, the most that is read of a list; write one table "
            "of its files, labels and splits (Parquet or CSV)"
        )
    lines = content.decode("utf-8", "replace").splitlines()
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
