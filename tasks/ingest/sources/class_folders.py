"""A folder per class, as torchvision's ImageFolder reads it; or such folders below train/, val/ and test/."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_contracts.refs import Modality
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.media_files import is_beneath
from tasks.ingest.manifest.rows import SPLITS, Manifest, Row
from tasks.modalities import MODALITIES

_MODALITY_OF: dict[str, Modality] = {suffix: spec.name for spec in MODALITIES.values() for suffix in spec.suffixes}
_Files = list[tuple[Path, str]]


def open_folders(path: Path, allowed: tuple[str, ...] = ()) -> list[tuple[Manifest, str | None]]:
    """One manifest per split folder, or one for a folder per class. Raises UsageError and DataError.

    Links to folders are followed only where they lead beneath `path` or an `allowed` folder, and not back to a parent.
    Such a folder holds one modality, that of most of its files: a note among the pictures is not a sample.
    """
    folders = _subfolders(path)
    if not folders:
        raise UsageError(f"data {str(path)!r}: holds neither a table nor a folder per class")
    roots = (str(path), *allowed)
    found: list[tuple[Path, _Files, str | None]]
    named = [folder for folder in folders if folder.name.lower() in SPLITS]
    if len(named) == len(folders):
        found = [(folder, _class_files(folder, roots), SPLITS[folder.name.lower()]) for folder in folders]
    elif len(named) > 1:
        other = next(folder.name for folder in folders if folder not in named)
        raise DataError(
            f"data {path}: holds split folders ({', '.join(folder.name for folder in named)}) and also {other!r}; "
            "move what is no split elsewhere, or write a manifest"
        )
    else:
        found = [(path, _class_files(path, roots), None)]
    kinds = Counter(
        kind for _, files, _ in found for file, _ in files if (kind := _MODALITY_OF.get(file.suffix.lower()))
    )
    if not kinds:
        raise DataError(f"data {path}: its class folders hold no file that ends in {', '.join(_MODALITY_OF)}")
    modality = max(MODALITIES, key=lambda name: kinds[name])
    columns = ("id", "label", f"{modality}_path")
    return [
        (Manifest(place, path, columns, _rows(files, path, modality), count=len(files)), split)
        for place, files, split in found
    ]


def _subfolders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_files(path: Path, roots: tuple[str, ...]) -> _Files:
    """Everything but folders and hidden files, also what cannot be read: a dangling link is a row like any other.

    So is a class folder that is a link to elsewhere: one row, and nothing beneath it is looked at.
    """
    files: _Files = []
    for folder in _subfolders(path):
        real = os.path.realpath(folder)
        if folder.is_symlink() and (not is_beneath(real, roots) or is_beneath(os.path.realpath(path), (real,))):
            files.append((folder, folder.name))
        else:
            files += [
                (entry, folder.name)
                for entry in sorted(folder.rglob("*"))
                if not entry.is_dir() and not entry.name.startswith(".")
            ]
    return files


def _rows(files: _Files, root: Path, modality: Modality) -> Iterator[Row]:
    for number, (file, label) in enumerate(files, start=1):
        name = file.relative_to(root).as_posix()
        values = {"id": name, "label": label}
        kind = _MODALITY_OF.get(file.suffix.lower())
        if file.is_symlink() and file.is_dir():
            yield Row(number, values, "path-outside", "a link to a folder beyond this one; see data.allowed_roots")
        elif kind is None:
            yield Row(number, values, "unknown-file-type", f"{file.suffix or 'no'} ending")
        elif kind != modality:
            yield Row(number, values, "other-modality", f"{kind} among files of {modality}; a manifest can pair them")
        else:
            yield Row(number, values | {f"{modality}_path": name})
