"""Folders that are no classes: parts of samples, as images, masks and YOLO's labels, and the one folder that holds all."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import PurePosixPath

from tasks.errors import DataError
from tasks.ingest.manifest.rows import SPLITS
from tasks.ingest.sources.list_hints import describe_list
from tasks.ingest.sources.listing import Listing, main_modality, modality_of_file
from tasks.ingest.sources.tables import is_table

_PARTS = frozenset(
    {"images", "masks", "labels", "annotations", "jpegimages", "imagesets", "bboxes", "metadata", "meta"}
)
"""Folders that hold what belongs to a sample rather than a class of samples, in lower case."""
_ABOUT = re.compile(r"(?:readme|licen[cs]e)", re.IGNORECASE)
_FOLD = re.compile(r"(?:cv|fold)[-_ ]?\d+", re.IGNORECASE)
_PERSON = re.compile(
    r"(?:actor|speaker|spk|subject|subj|sub|patient|participant|user|session|ses)[-_ ]?\d+", re.IGNORECASE
)
"""Folders that hold what one person gave, or one sitting."""
_TEXT_SHARE = 0.5
"""Of the files of other modalities so many must have a text of their own name beside them."""
_PAIRED_SHARE = 0.9
"""Of a part's files so many have a namesake in the folder of the samples: a few samples may lack theirs."""


def is_class_name(folder: str) -> bool:
    """Whether a folder in a list of files may be a class by its name: no split and no part of samples."""
    return folder.lower() not in _PARTS | SPLITS.keys()


def refuse_parts(listing: Listing) -> None:
    """Raises DataError where folders hold parts of samples and no class each: all that hold media are named so, or the
    files of one are named as those of a folder beside it. A class may be called masks. The same for folders that are folds,
    and for recordings with transcripts among them.
    """
    _refuse_folds(listing)
    _refuse_copies(listing)
    _refuse_transcripts(listing)
    parts = [name for name in listing.folders if name.lower() in _PARTS]
    holding = {name for name, files in listing.folders.items() if any(map(modality_of_file, files))}
    paired = any(_pair_up(listing, part, other) for part in parts for other in listing.folders if other != part)
    if parts and (paired or holding <= set(parts)):
        raise parts_error(listing, parts)


def _refuse_folds(listing: Listing) -> None:
    """Raises DataError where all folders with media are named as folds are, or as persons are that are numbered."""
    folds = [name for name, files in listing.folders.items() if any(map(modality_of_file, files))]
    if len(folds) > 1 and all(map(_PERSON.fullmatch, folds)):
        raise DataError(
            f"data {listing.path}: by their names {', '.join(folds[:5])} say whose the files are, or of which session, and "
            f"are no class each; it holds {listing.describe()}: write a table that names each file, its label and its folder "
            "as the group, which never straddles splits (file_name,label,group); data.layout=folders takes every folder for "
            "a class"
        )
    if len(folds) > 1 and all(map(_FOLD.fullmatch, folds)):
        raise DataError(
            f"data {listing.path}: by their names {', '.join(folds[:5])} are folds, no class each; it holds "
            f"{listing.describe()}: where a table with labels lies in the folder above, give that one, --data "
            f"{listing.path.parent}; else write a table that names each file, its label and its fold (file_name,label,fold), "
            "which split.folds divides; data.layout=folders takes every folder for a class"
        )


def _refuse_copies(listing: Listing) -> None:
    """Raises DataError where a folder holds folders that are named as all those beside it: an archive unpacked into itself."""
    for name, files in listing.folders.items():
        others = listing.folders.keys() - {name}
        inner = {file.split("/")[1] for file in files if file.count("/") > 1}
        if len(others) > 1 and others <= inner:
            raise DataError(
                f"data {listing.path}: {name} holds folders that are named as those beside it "
                f"({', '.join(sorted(others)[:3])}), as an archive that was unpacked into itself: give the inner ones, "
                f"--data {listing.path / name}, or move "
                f"{name} elsewhere; data.layout=folders takes every folder for a class"
            )


def _refuse_transcripts(listing: Listing) -> None:
    """Raises DataError where texts among other media hold what is said in them: 19-198.trans.txt beside 19-198-0000.flac."""
    files = [file for held in listing.folders.values() for file in held]
    _refuse_own_texts(listing, files)
    if main_modality(files) == "text":
        return
    by_folder: dict[PurePosixPath, list[str]] = defaultdict(list)
    for file in files:
        by_folder[PurePosixPath(file).parent].append(PurePosixPath(file).name)
    lists = [
        str(folder / text)
        for folder, names in by_folder.items()
        for text in names
        if modality_of_file(text) == "text"
        and any(name.startswith(tuple(text.split(".")[0] + mark for mark in "-_")) for name in names if name != text)
    ]
    if lists:
        raise DataError(
            f"data {listing.path}: {lists[0]}, and {len(lists) - 1} more, are named as the files beside them begin: they list "
            f"what is said in those (transcripts), so folders may be speakers and no classes; it holds {listing.describe()}: "
            "write a table that names each file and its label, and, if you like, its text and speaker "
            "(file_name,label,text,group); data.layout=folders takes every folder for a class"
        )


def _refuse_own_texts(listing: Listing, files: list[str]) -> None:
    """Raises DataError where files of several folders have a text of their own name beside them each: a.wav, a.txt."""
    paths = [(PurePosixPath(file), modality_of_file(file)) for file in files]
    texts = {str(path.with_suffix("")): str(path) for path, modality in paths if modality == "text"}
    others = {str(path.with_suffix("")) for path, modality in paths if modality not in (None, "text")}
    own = sorted(texts.keys() & others)
    if len(own) < max(2, _TEXT_SHARE * len(others)) or len({stem.split("/")[0] for stem in own}) < 2:
        return
    raise DataError(
        f"data {listing.path}: {texts[own[0]]}, and {len(own) - 1} more, are named as a file beside them is, of which a folder "
        f"per class takes one; it holds {listing.describe()}: write a table that names each file, its text and its label "
        "(file_name,text_path,label); data.layout=folders takes every folder for a class"
    )


def parts_error(listing: Listing, parts: Collection[str]) -> DataError:
    """What is wrong with parts of samples as classes, and what to do."""
    advice = _advice(listing, [name for name in listing.folders if name in parts or name.lower() in _PARTS])
    return DataError(
        f"data {listing.path}: by their names {', '.join(parts)} hold parts of samples, no class each; it holds "
        f"{listing.describe()}: {advice}; data.layout=folders takes every folder for a class"
    )


def _pair_up(listing: Listing, part: str, other: str) -> bool:
    """Whether the files of a part are named as those of the other folder. Classes count their files alike (masks/0.png,
    gloves/0.png): beside a folder that is no part by its name, numbers of files with the same endings say nothing.
    """
    (names, endings), (others, other_endings) = (_names(listing.folders[folder]) for folder in (part, other))
    if other.lower() not in _PARTS and endings & other_endings:
        names = {name for name in names if not PurePosixPath(name).name.isdecimal()}
    return bool(names) and len(names & others) >= _PAIRED_SHARE * len(names)


def _names(files: list[str]) -> tuple[set[str], set[str]]:
    """The paths below the folder without their endings, and the endings."""
    paths = [PurePosixPath(*PurePosixPath(file).parts[1:]) for file in files]
    return {str(path.with_suffix("")) for path in paths if path.name}, {path.suffix.lower() for path in paths}


def refuse_one_class(listings: list[Listing], root: Listing) -> None:
    """Raises DataError where one folder holds all samples: nothing can be told apart, so it is no class (wav, jpg, clips).

    Samples are of the modality of most files, as class folders are read: a note beside the pictures is none.
    """
    files = [(name, file) for listing in listings for name, held in listing.folders.items() for file in held]
    modality = main_modality([file for _, file in files])
    holding = {name for name, file in files if modality is not None and modality_of_file(file) == modality}
    if len(holding) == 1:
        (name,) = holding
        advice = _advice(listings[0] if len(listings) == 1 else root, [name])
        raise DataError(
            f"data {root.path}: only the folder {name} holds media, and one class cannot be told from others; it holds "
            f"{root.describe()}: {advice}; data.layout=folders takes every folder for a class"
        )


def _around_classes(files: list[str]) -> str | None:
    """The outermost of the folders of these files in which several folders hold media that may be classes; None for none."""
    folders = [PurePosixPath(file).parent.parts for file in files if modality_of_file(file)]
    for depth in range(1, min(map(len, folders), default=0)):
        names = {parts[depth] for parts in folders}
        if len(names) > 1:
            return "/".join(folders[0][:depth]) if all(map(is_class_name, names)) else None
    return None


def _advice(listing: Listing, parts: list[str]) -> str:
    """What to do where these folders are no classes."""
    held = {name: listing.folders.get(name, []) for name in parts}
    below = [folder for name in parts if (folder := _around_classes(held[name]))]
    boxes = [file for name in parts if name.lower() == "labels" for file in held[name] if file.endswith(".txt")]
    advice = "write a table that names each file and its label (file_name,label)"
    lists = [file for file in listing.files if file.lower().endswith(".txt") and not _ABOUT.match(file)]
    tables = [
        file for held in listing.folders.values() for file in held if is_table(file) and not file.endswith(".json")
    ]
    if tables:
        advice = f"where {tables[0]} says the labels, move it to {listing.path} itself; else {advice}"
    if (described := describe_list(listing)) is not None:
        advice = f"{described}; else {advice}"
    elif lists:
        given = f"where {lists[0]} is a table that says the labels, give that one, --data {listing.path / lists[0]}"
        advice = f"{given}; else {advice}"
    if boxes:
        advice = (
            f"{boxes[0]} looks like the boxes of YOLO, of which classes of whole pictures are not made: {advice}, or "
            "convert it to COCO's JSON, whose categories are read as sets of labels (data.problem=multilabel)"
        )
    elif below:
        advice = f"if the folders in {below[0]} are the classes, give that one, --data {listing.path / below[0]}; else {advice}"
    return advice
