"""What lies at a data path: a table, a folder with a manifest, a folder of tables named after splits, or of classes."""

from __future__ import annotations

from pathlib import Path

from tasks.errors import UsageError
from tasks.ingest.folders import open_folders
from tasks.ingest.rows import SPLITS, Manifest
from tasks.ingest.table_files import TABLES, open_table

_PREFERRED = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
"""Which manifest.* counts where a folder holds several."""


def open_manifest(path: Path) -> list[tuple[Manifest, str | None]]:
    """The manifests at a path, each with the split that its name gives, if any.

    Raises UsageError when the path is none of these or cannot be read, DataError when its content is not what it says.
    """
    try:
        if path.is_file():
            return [(open_table(path), None)]
        if path.is_dir():
            return _open_folder(path)
    except OSError as error:
        raise UsageError(f"data {str(path)!r}: cannot be read ({error.strerror or error})") from None
    raise UsageError(
        f"data {str(path)!r}: no such file or folder; give a manifest, or a folder with one folder per class"
    )


def _open_folder(path: Path) -> list[tuple[Manifest, str | None]]:
    tables = sorted(entry for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() in TABLES)
    named = [entry for entry in tables if entry.stem.lower() == "manifest"]
    if named:
        return [(open_table(min(named, key=lambda entry: _PREFERRED.index(entry.suffix.lower()))), None)]
    by_split = [(entry, SPLITS[entry.stem.lower()]) for entry in tables if entry.stem.lower() in SPLITS]
    if by_split:
        return [(open_table(entry), split) for entry, split in by_split]
    return open_folders(path)
