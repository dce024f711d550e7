"""A data folder, listed once: what it holds that a person put there, and what systems and programs left in it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from data_contracts.refs import Modality
from tasks.errors import UsageError
from tasks.ingest.manifest.media_files import is_beneath
from tasks.ingest.manifest.rows import SPLITS
from tasks.ingest.sources.tables import is_table
from tasks.modalities import MODALITIES

MODALITY_OF: dict[str, Modality] = {suffix: spec.name for spec in MODALITIES.values() for suffix in spec.suffixes}
"""File ending to what such a file is."""
_SYSTEM = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle"}
    | {"#snapshot", "$recycle.bin", "system volume information", "recycler", "lost+found", "__pycache__"}
    | {"network trash folder", "temporary items"}
)
"""What Windows, macOS, NAS boxes and Python leave in folders, in lower case; names that begin with a dot come on top."""
_NAMES_SHOWN = 5
SHARD = re.compile(r"[-_]\d+(?:-of-\d+(?:-[0-9a-f]+)?)?$")
"""Ends the name of a file that is one of several; older exports of the hub add a digest."""
_COCO = re.compile(r"(?:instances|captions)_([a-z]+)\d*$")
"""COCO's names, instances_train2017."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is nobody's data."""
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


def modality_of_file(name: str) -> Modality | None:
    """What a file is by its ending; None for one that is no medium."""
    return MODALITY_OF.get(PurePosixPath(name).suffix.lower())


def main_modality(files: Iterable[str]) -> Modality | None:
    """What most of the files that are media are; None where none is."""
    counts: Counter[Modality | None] = Counter(map(modality_of_file, files))
    best = max(MODALITIES, key=lambda name: counts[name])
    return best if counts[best] else None


def split_of_name(name: str) -> str | None:
    """The split that a file is named after, alone or with the number of a shard: test of test-00000-of-00001.parquet."""
    stem = PurePosixPath(name).name.split(".")[0].lower()
    of_coco = _COCO.match(stem)
    return SPLITS.get(of_coco[1] if of_coco else SHARD.sub("", stem))


@dataclass
class Listing:
    """A folder and all that lies beneath it, but for hidden and system entries and what these hold."""

    path: Path
    folders: dict[str, list[str]] = field(default_factory=dict)
    """Each folder in it to the files beneath that, at any depth, as paths relative to `path`; sorted."""
    files: list[str] = field(default_factory=list)
    """Files that lie in the folder itself, sorted."""
    linked: set[str] = field(default_factory=set)
    """Of the files: links to folders, which are not followed."""
    hidden: Counter[str] = field(default_factory=Counter)
    """Name of a hidden or system entry to how many there are."""

    @cached_property
    def tables(self) -> list[str]:
        """Tables in the folder itself, and in folders that hold no media."""
        beside = [name for name in self.files if is_table(name)]
        below = [
            file
            for files in self.folders.values()
            if not any(map(modality_of_file, files))
            for file in files
            if file.count("/") == 1 and is_table(file)
        ]
        return beside + below

    @cached_property
    def media(self) -> list[str]:
        """Every file that is a medium by its ending."""
        return [file for files in (self.files, *self.folders.values()) for file in files if modality_of_file(file)]

    def below(self, folder: str) -> Listing:
        """The listing of one of its folders."""
        found = Listing(self.path / folder)
        for file in self.folders[folder]:
            inner = file.removeprefix(f"{folder}/")
            found.linked |= {inner} if file in self.linked else set()
            first, slash, _ = inner.partition("/")
            if slash:
                found.folders.setdefault(first, []).append(inner)
            else:
                found.files.append(inner)
        return found

    def require_inside(self, name: str, allowed: tuple[str, ...]) -> None:
        """UsageError for a link that leads outside: it is what its author wanted, not what the user named."""
        if not is_beneath(os.path.realpath(self.path / name), (str(self.path), *allowed)):
            raise UsageError(
                f"data {str(self.path)!r}: {name} is a link that leads outside; name the file itself, or add where it lies "
                "to data.allowed_roots"
            )

    def describe(self) -> str:
        """What was found, in names and numbers: `2 folders (cat, dog), 40 .png, 1 table (labels.csv)`."""
        endings = Counter(
            PurePosixPath(file).suffix.lower() or "no ending"
            for files in (self.files, *self.folders.values())
            for file in files
            if file not in self.tables and file not in self.linked
        )
        parts = [_named("folder", list(self.folders)), _named("table", self.tables)]
        parts += [f"{count} files ({ending})" for ending, count in endings.most_common(_NAMES_SHOWN)]
        if self.linked:
            parts.append(
                f"{_named('link', sorted(self.linked))} to folders, which data.allowed_roots lets lead elsewhere"
            )
        parts += [f"{sum(self.hidden.values())} hidden or system entries"] if self.hidden else []
        return ", ".join(filter(None, parts)) or "nothing"


def _named(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "")
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''} ({shown})" if names else ""


def list_folder(path: Path, allowed: tuple[str, ...] = ()) -> Listing:
    """What lies in a folder. Links to folders are followed at its top only, where they lead beneath it or an `allowed`
    folder and not back to a parent; any other is listed as a file. OSError where a folder cannot be read.
    """
    listing = Listing(path)
    roots = (str(path), *allowed)
    for entry in _visible(path, listing):
        name = entry.name
        if not entry.is_dir():
            listing.files.append(name)
            continue
        listing.folders[name] = []
        if entry.is_symlink():
            real = os.path.realpath(entry.path)
            if not is_beneath(real, roots) or is_beneath(os.path.realpath(path), (real,)):
                listing.folders[name] = [name]
                listing.linked.add(name)
                continue
        listing.folders[name] = list(_files_beneath(Path(entry.path), name, listing))
    return listing


def _visible(path: Path, listing: Listing) -> Iterator[os.DirEntry[str]]:
    """The entries that are not hidden, sorted; the others are counted."""
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if is_hidden(entry.name):
            listing.hidden["._…" if entry.name.startswith("._") else entry.name] += 1
        else:
            yield entry


def _files_beneath(path: Path, prefix: str, listing: Listing) -> Iterator[str]:
    for entry in _visible(path, listing):
        name = f"{prefix}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _files_beneath(Path(entry.path), name, listing)
            continue
        if entry.is_dir():
            listing.linked.add(name)
        yield name
