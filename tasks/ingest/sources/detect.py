"""What lies at a data path: a table, a folder with a manifest, a folder of tables named after splits, or of classes."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.errors import UsageError
from tasks.ingest.manifest.media_files import is_beneath
from tasks.ingest.manifest.rows import SPLITS, Manifest
from tasks.ingest.sources.class_folders import open_folders
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.tables import TABLES, open_table

_PREFERRED = (".parquet", *TABLES)
"""Which manifest.* counts where a folder holds several."""


def open_manifest(path: Path, limits: ReadLimits | None = None) -> list[tuple[Manifest, str | None]]:
    """The manifests at a path, each with the split that its name gives, if any.

    Raises UsageError when the path is none of these or cannot be read, DataError when its content is not what it says.
    """
    limits = limits or ReadLimits()
    try:
        if path.is_file():
            return [(open_table(path, limits), None)]
        if path.is_dir():
            return _open_folder(path, limits)
    except OSError as error:
        raise UsageError(f"data {str(path)!r}: cannot be read ({error.strerror or error})") from None
    raise UsageError(
        f"data {str(path)!r}: no such file or folder; give a manifest, or a folder with one folder per class"
    )


def _open_folder(path: Path, limits: ReadLimits) -> list[tuple[Manifest, str | None]]:
    tables = sorted(entry for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in TABLES)
    named = [entry for entry in tables if entry.stem.lower() == "manifest"]
    if named:
        return [(_open_entry(min(named, key=lambda entry: _PREFERRED.index(entry.suffix.lower())), path, limits), None)]
    by_split = [(entry, SPLITS[entry.stem.lower()]) for entry in tables if entry.stem.lower() in SPLITS]
    if by_split:
        return [(_open_entry(entry, path, limits), split) for entry, split in by_split]
    return open_folders(path, limits.allowed_roots)


def _open_entry(entry: Path, folder: Path, limits: ReadLimits) -> Manifest:
    """The table that was found in a folder. A link is what its author wanted, not what the user named: UsageError outside."""
    if not is_beneath(os.path.realpath(entry), (str(folder), *limits.allowed_roots)):
        raise UsageError(
            f"data {str(folder)!r}: {entry.name} is a link that leads outside; name the file itself, or add where it lies "
            "to data.allowed_roots"
        )
    return open_table(entry, limits)
