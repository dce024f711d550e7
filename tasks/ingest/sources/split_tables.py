"""Tables that are the splits of one data set: by their own names, by the folder of each, or by the end of their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import PurePosixPath

from tasks.ingest.manifest.rows import SPLITS
from tasks.ingest.sources.listing import SHARD, Listing, split_of_name
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import is_table

_OF_MEDIA = (".json", ".xml")
"""Formats of which a folder may hold one file a picture: those in folders named after splits are no tables of theirs."""
SplitTables = dict[str, dict[str, str]]
"""Folder, or folder and name of a data set, to its tables with the split of each; "." for what lies in the listed folder."""
_BEGINNING = re.compile(r"([A-Za-z]+)(?:[-_. ](.+)|\d+)")
_Named = tuple[str, str] | None
"""The name of the data set, and the split."""


def find_split_tables(listing: Listing) -> SplitTables:
    """Tables that are named after splits (train-00000-of-00002.parquet); where there are none, those in folders that are
    (de/train/0000.parquet), or whose names end in splits (de-train-00000-of-00001.parquet) or begin with them
    (train_sent_emo.csv), of at least two splits.
    """
    tables = [file for files in (listing.files, *listing.folders.values()) for file in files if is_table(file)]
    with_media = {str(folder) for file in listing.media for folder in PurePosixPath(file).parents}

    def by_folder(file: str) -> _Named:
        """The folder above that of the split, and the split."""
        folder = PurePosixPath(file).parent
        split = SPLITS.get(folder.name.lower())
        is_theirs = format_of(file) not in _OF_MEDIA and str(folder) not in with_media
        return (str(folder.parent), split) if split is not None and is_theirs else None

    found = _joined(_grouped(tables, _by_name))
    for naming in (by_folder, _by_ending, _by_beginning):
        if not found:
            found = {key: group for key, group in _grouped(tables, naming).items() if len(set(group.values())) > 1}
    return found


def _joined(found: SplitTables) -> SplitTables:
    """One group where each is the tables of one split in a folder of that name, all folders beside each other: train/train.csv,
    test/test.csv."""
    paths = [PurePosixPath(folder) for folder in found]
    own = all(set(found[str(path)].values()) == {SPLITS.get(path.name.lower())} for path in paths)
    if len(found) < 2 or not own or len({path.parent for path in paths}) > 1:
        return found
    return {str(paths[0].parent): {file: split for group in found.values() for file, split in group.items()}}


def split_of_ending(stem: str) -> tuple[str, str] | None:
    """What stands before a split at the end of a name, and the split: (imdb, test) of imdb-test."""
    for mark in "-_.":
        before, found, word = stem.rpartition(mark)
        if found and before and word.lower() in SPLITS:
            return before, SPLITS[word.lower()]
    return None


def split_of_beginning(stem: str) -> tuple[str, str] | None:
    """What stands behind a split at the beginning of a name, and the split: (seen, val) of dev_seen, ("", test) of test1."""
    found = _BEGINNING.fullmatch(stem)
    split = None if found is None else SPLITS.get(found[1].lower())
    return None if found is None or split is None else (found[2] or "", split)


def qualified_tables(tables: list[str], of_splits: dict[str, str]) -> dict[str, str]:
    """Tables beside those of splits whose names begin with a split that none of these is (dev_seen.jsonl), with that split."""
    folders = {PurePosixPath(file).parent for file in of_splits}
    beside = [file for file in tables if file not in of_splits and PurePosixPath(file).parent in folders]
    found = {file: named[1] for file in beside if (named := split_of_beginning(_stem(file))) is not None}
    return {file: split for file, split in found.items() if split not in of_splits.values()}


def _stem(file: str) -> str:
    """The name without the endings of its format and packing, and the number of a shard: snli_1.0_train of its .jsonl.gz."""
    name = PurePosixPath(file).name
    ending = format_of(name)
    return SHARD.sub("", name[: name.lower().rfind(ending)] if ending else name)


def _grouped(tables: list[str], naming: Callable[[str], _Named]) -> SplitTables:
    found: SplitTables = {}
    for file in tables:
        named = naming(file)
        if named is not None:
            found.setdefault(named[0], {})[file] = named[1]
    return found


def tables_beside(listing: Listing, of_splits: Collection[str]) -> list[str]:
    """The other tables of the folders in which those of splits lie."""
    folders = {PurePosixPath(file).parent for file in of_splits}
    files = (file for held in (listing.files, *listing.folders.values()) for file in held)
    return [
        file for file in files if is_table(file) and file not in of_splits and PurePosixPath(file).parent in folders
    ]


def _by_name(file: str) -> _Named:
    split = split_of_name(file)
    return None if split is None else (str(PurePosixPath(file).parent), split)


def _by_ending(file: str) -> _Named:
    named = split_of_ending(_stem(file))
    return None if named is None else (str(PurePosixPath(file).parent / named[0]), named[1])


def _by_beginning(file: str) -> _Named:
    named = split_of_beginning(_stem(file))
    return None if named is None or not named[0] else (str(PurePosixPath(file).parent / named[0]), named[1])
