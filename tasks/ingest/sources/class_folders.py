"""A folder per class, as torchvision's ImageFolder reads it; or files without a folder, which have no label."""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from data_contracts.refs import Modality
from tasks.errors import DataError
from tasks.ingest.manifest.rows import SPLITS, Manifest, Row
from tasks.ingest.sources.file_kinds import of_other_endings
from tasks.ingest.sources.list_files import LISTS, NOISE, listed_splits, speaker_of
from tasks.ingest.sources.listing import MODALITY_OF, Listing, main_modality, modality_of_file
from tasks.ingest.sources.tables import is_table

_OF_SPLITS = re.compile(r"(?:^|[-_.])(?:splits?|partition|trainval|train|test)(?:[-_.]|list)", re.IGNORECASE)
_MOST_ENTRIES = 5_000
_SHOWN = 5
_MOST_INNER = 50
"""More folders of the same names below several classes are days or sessions."""
_UNLABELLED = frozenset({"unsup", "unsupervised", "unlabeled", "unlabelled"})
"""Folders of samples without labels beside those of classes, as IMDB's reviews have one; in lower case."""


def open_folders(listings: list[Listing], root: Listing, *, labelled: bool = True) -> list[Manifest]:
    """A manifest of each listing's class folders, all of one modality. DataError where they hold no medium.

    `root`: the data folder, which ids and paths are relative to. Such a folder holds one modality, that of most of its files:
    a note among the pictures is not a sample. `labelled`: a folder whose name says that its files have no label is left out.
    """
    modality = main_modality([file for listing in listings for files in listing.folders.values() for file in files])
    if modality is None:
        raise DataError(
            f"data {root.path}: its class folders hold no file that ends in {', '.join(MODALITY_OF)}; "
            f"it holds {root.describe()}{of_other_endings(listings, root)}"
        )
    return [_open_classes(listing, root, modality, labelled) for listing in listings]


def open_files(listing: Listing) -> Manifest:
    """A manifest of media that lie in a folder and beneath it, for predictions: an id and a path, no label."""
    found = [file for files in (listing.files, *listing.folders.values()) for file in files]
    modality = main_modality(found)
    assert modality is not None
    files = [(file, {"id": file}) for file in found]
    rows = _rows(files, listing, listing, modality)
    return Manifest(listing.path, listing.path, ("id", f"{modality}_path"), rows, count=len(files))


def _open_classes(listing: Listing, root: Listing, modality: Modality, labelled: bool) -> Manifest:
    splits = listed_splits(listing)
    unlabelled = {name for name in listing.folders if labelled and name.lower() in _UNLABELLED}
    left_out = ({NOISE} if splits else set()) | unlabelled
    files = [
        (file, {"id": file, "label": label} | _listed(file, splits))
        for label, files in listing.folders.items()
        if label not in left_out
        for file in files
    ]
    columns = ("id", "label", f"{modality}_path", *(("split", "group") if splits else ()))
    notes = [*_describe(listing, root, set(LISTS) if splits else set())]
    if splits:
        notes.append(f"splits are those of {' and '.join(sorted(LISTS.keys() & set(listing.files)))}")
        notes += (
            [f"{NOISE}: {len(listing.folders[NOISE])} files of noise are no class"] if NOISE in listing.folders else []
        )
    notes += [
        f"{name}: {len(listing.folders[name])} files without labels, by the folder's name, are left out; crossmodal predict "
        "answers them; under another name the folder is a class"
        for name in sorted(unlabelled)
    ]
    rows = _rows(files, listing, root, modality)
    return Manifest(listing.path, root.path, columns, rows, tuple(notes), count=len(files))


def _listed(file: str, splits: dict[str, str]) -> dict[str, str]:
    """The split and the speaker of a file, where list files give splits."""
    speaker = speaker_of(file) if splits else None
    return ({"split": splits.get(file, "train")} if splits else {}) | ({"group": speaker} if speaker else {})


def _describe(listing: Listing, root: Listing, read: set[str]) -> list[str]:
    """Notes on what a reader of class folders may not expect."""
    deeper = [file for files in listing.folders.values() for file in files if file.count("/") > 1]
    notes = []
    if deeper:
        inner = sorted({file.split("/")[1] for file in deeper})
        below = f"; {', '.join(inner)} are no splits there: splits stand above the classes"
        notes.append(
            f"{len(deeper)} files lie deeper than their class folder, for example {deeper[0]}: their class is the first folder"
            + (below if all(name.lower() in SPLITS for name in inner) else _recurring(deeper))
        )
    beside = [file for file in listing.files if file not in read]
    if beside:
        shown = ", ".join(beside[:3]) + (", …" if len(beside) > 3 else "")
        notes.append(f"{len(beside)} files beside the class folders are not read: {shown}")
    above = [] if listing is not root else splits_above(listing.path)
    if above:
        notes.append(
            f"{', '.join(above[:3])} in the folder above may say what is train and test, and is not read: to keep that split, "
            "give that folder, or a table with a column split"
        )
    return notes


def _recurring(files: list[str]) -> str:
    """What a note adds where the innermost folders have the same names below several of the first: they may be the classes."""
    firsts: dict[str, set[str]] = defaultdict(set)
    for file in files:
        folders = file.split("/")[:-1]
        firsts[folders[-1]].add(folders[0])
    shown = ", ".join(sorted(firsts)[:_SHOWN]) + (", …" if len(firsts) > _SHOWN else "")
    if not 1 < len(firsts) <= _MOST_INNER or any(len(outer) < 2 for outer in firsts.values()):
        return ""
    return (
        f"; the innermost folders ({shown}) recur below several of them: where those are the classes, write a table that names "
        "each file, its label and its first folder as the group (file_name,label,group)"
    )


def splits_above(path: Path) -> list[str]:
    """Names of lists and tables beside a folder that speak of splits, among the first entries there."""
    try:
        with os.scandir(path.absolute().parent) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, _MOST_ENTRIES))
    except OSError:
        return []
    return [name for name in names if may_give_splits(name) and (name.endswith(".txt") or is_table(name))]


def may_give_splits(name: str) -> bool:
    """Whether a file speaks of splits by its name: train_val_list.txt."""
    return _OF_SPLITS.search(name) is not None


def _rows(
    files: list[tuple[str, dict[str, str]]], listing: Listing, root: Listing, modality: Modality
) -> Iterator[Row]:
    """A row per file, also for what cannot be read: a dangling link is a row like any other, and so is one to a folder."""
    prefix = listing.path.relative_to(root.path).as_posix()
    for number, (file, values) in enumerate(files, start=1):
        name = file if prefix == "." else f"{prefix}/{file}"
        values["id"] = name
        found = modality_of_file(file)
        if file in listing.linked:
            yield Row(number, values, "path-outside", "a link to a folder beyond this one; see data.allowed_roots")
        elif found is None:
            ending = file[file.rfind(".") :] if "." in file.rsplit("/", 1)[-1] else "no"
            yield Row(number, values, "unknown-file-type", f"{ending} ending")
        elif found != modality:
            yield Row(number, values, "other-modality", f"{found} among files of {modality}; a manifest can pair them")
        else:
            yield Row(number, values | {f"{modality}_path": name})
