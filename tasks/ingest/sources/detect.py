"""What lies at a data path: a table, a medium, or a folder with tables, class folders or media in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import SPLITS, Manifest
from tasks.ingest.sources.cell_lists import count_divided, divide_cells
from tasks.ingest.sources.class_folders import open_files, open_folders
from tasks.ingest.sources.folder_tables import (
    Manifests,
    noted,
    open_entry,
    open_named,
    open_only_table,
    open_split_tables,
    refuse_lakehouse,
)
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.list_files import open_listed, split_lists
from tasks.ingest.sources.listing import Listing, list_folder, modality_of_file
from tasks.ingest.sources.numbered_lists import is_numbered, open_numbered
from tasks.ingest.sources.sample_parts import refuse_one_class, refuse_parts
from tasks.ingest.sources.saved_datasets import is_saved, open_saved
from tasks.ingest.sources.shards import expand_range, names_range, shards_of
from tasks.ingest.sources.split_folders import below_twice, split_folders, unwrapped
from tasks.ingest.sources.split_tables import find_split_tables, split_of_ending
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import ARCHIVE, TABLES, is_table, open_table, open_unnamed
from tasks.problems.cells import storable

_PREFERRED = (".parquet", *TABLES)
"""Which manifest.* counts where a folder holds several."""


def open_manifest(path: Path, limits: ReadLimits | None = None) -> Manifests:
    """The manifests at a path.

    Raises UsageError when the path is none of these or cannot be read, DataError when its content is not what it says.
    """
    limits = limits or ReadLimits()
    found = _open(path, limits)
    if limits.cell_separator is None:
        return found
    counts = [count_divided(manifest.rows, limits) for manifest, _ in found]
    return [
        (divide_cells(manifest, limits, each), split)
        for (manifest, split), each in zip(_open(path, limits), counts, strict=True)
    ]


def tables_of(manifests: Sequence[Manifest], path: Path) -> list[str | None]:
    """The name that tells each from the others: its path beneath `path`. None where there is only one."""
    if len(manifests) == 1:
        return [None]
    paths = [manifest.path for manifest in manifests]
    return [storable(each.relative_to(path).as_posix() if each.is_relative_to(path) else each.name) for each in paths]


def _open(path: Path, limits: ReadLimits) -> Manifests:
    try:
        if path.is_file():
            if modality_of_file(path.name) and not is_table(path.name):
                is_text = modality_of_file(path.name) == "text" and limits.labelled
                if is_text and (table := open_unnamed(path, limits)) is not None:  # one text is no set to train on
                    return [(table, None)]
                return [(open_files(Listing(path.parent, files=[path.name])), None)]
            return [(open_table(path, limits), None)]
        if path.is_dir():
            return _open_folder(path, limits)
        if names_range(path):
            return [(open_table(shard, limits), None) for shard in expand_range(path)]
    except OSError as error:
        raise UsageError(f"data {str(path)!r}: cannot be read ({error.strerror or error})") from None
    raise UsageError(
        f"data {str(path)!r}: no such file or folder; give a manifest, or a folder with one folder per class"
    )


def _open_folder(path: Path, limits: ReadLimits) -> Manifests:
    listing = list_folder(path, limits.allowed_roots)
    if limits.table is not None:
        found: Manifests = [(open_named(listing, limits.table, limits), None)]
    else:
        found = _open_listing(listing, limits)
    if listing.hidden:
        counted = ", ".join(f"{count} {name}" for name, count in listing.hidden.most_common(5))
        more = ", …" if len(listing.hidden) > 5 else ""
        found = noted(found, f"hidden and system files and folders are left out, with what they hold: {counted}{more}")
    return found


def _open_listing(listing: Listing, limits: ReadLimits) -> Manifests:
    found = _open_by_names(listing, limits) if limits.layout != "folders" else []
    if found:
        return found
    table = open_only_table(listing, limits)
    if table is not None:
        return [(table, None)]
    parts = split_folders(listing)
    if parts:
        found = _open_parts(listing, parts, limits)
        where = "ends" if any(split_of_ending(name) for name in parts) else "beginnings"
        note = f"{', '.join(parts)} are read as splits, by the {where} of their names"
        return found if all(name.lower() in SPLITS for name in parts) else noted(found, note)
    inner = unwrapped(listing)
    if inner is not listing and limits.labelled:
        note = f"{inner.path.relative_to(listing.path)} is all that the folder holds, and is read in its place"
        note += f"; beside it are not read: {', '.join(listing.files[:3])}" if listing.files else ""
        return noted(_open_listing(inner, limits), note)
    if listing.media and (not listing.folders or _is_unlabelled(listing, limits)):
        return [(open_files(listing), None)]
    _require_folders(listing)
    if limits.layout == "auto" and limits.labelled:
        refuse_parts(listing)
        refuse_one_class([listing], listing)
    return [(open_folders([listing], listing, labelled=limits.labelled)[0], None)]


def _is_unlabelled(listing: Listing, limits: ReadLimits) -> bool:
    """Whether the folders of a folder to be predicted are no classes: media lie beside them."""
    return not limits.labelled and limits.layout != "folders" and any(map(modality_of_file, listing.files))


def _open_by_names(listing: Listing, limits: ReadLimits) -> Manifests:
    """What is meant by the names of its files; none where they say nothing."""
    refuse_lakehouse(listing)
    if is_saved(listing):
        return open_saved(listing, limits)
    tables = [name for name in listing.files if is_table(name)]
    named = [name for name in tables if _stem(name) == "manifest" and limits.layout == "auto"]
    if named:
        chosen = min(named, key=lambda name: _PREFERRED.index(format_of(name)))
        return [(open_entry(listing, chosen, limits), None)]
    if limits.layout != "tables" and split_lists(
        listing, limits.allowed_roots
    ):  # Food-101 has the same as JSON besides
        return [(open_listed(listing, limits), None)]
    if limits.layout != "tables" and is_numbered(listing):
        return [(open_numbered(listing, limits.allowed_roots), None)]
    if limits.layout == "lists":
        raise UsageError(
            f"data.layout=lists: {str(listing.path)!r} holds no lists of its files; it holds {listing.describe()}; set "
            "data.layout=auto to find what it is"
        )
    of_splits = find_split_tables(listing)
    shards = [] if listing.media else shards_of(listing)
    if of_splits or (limits.layout == "tables" and not shards):
        return open_split_tables(listing, of_splits, limits)
    return [(replace(open_entry(listing, name, limits), root=listing.path), None) for name in shards]


def _stem(name: str) -> str:
    return Path(name).name.split(".")[0].lower()


def _open_parts(listing: Listing, parts: dict[str, str], limits: ReadLimits) -> Manifests:
    """The split folders: each with a table that describes its files, or all with class folders."""
    below = [below_twice(listing, part) for part in parts]
    splits = list(parts.values())
    tables = [open_only_table(part, limits) for part in below]
    if all(tables):
        return [(table, split) for table, split in zip(tables, splits, strict=True) if table is not None]
    for part, table in zip(below, tables, strict=True):
        if table is None:
            _require_folders(part)
        else:
            raise DataError(
                f"data {listing.path}: {table.path} describes its folder, and other split folders hold no such table; "
                "give each one, or set data.layout=folders to read class folders"
            )
    if limits.layout == "auto" and limits.labelled:
        for part in below:
            _refuse_parts_of(part, [each for each in below if each is not part])
        refuse_one_class(below, listing)
    return list(zip(open_folders(below, listing, labelled=limits.labelled), splits, strict=True))


def _refuse_parts_of(part: Listing, others: list[Listing]) -> None:
    """Raises DataError as refuse_parts of a split folder, with the split that can be read alone, if one can."""
    try:
        refuse_parts(part)
    except DataError as error:
        readable = [other for other in others if _has_classes(other)]
        if not readable:
            raise
        raise DataError(f"{error}; --data {readable[0].path} reads that split alone, and divides it") from None


def _has_classes(listing: Listing) -> bool:
    try:
        refuse_parts(listing)
        refuse_one_class([listing], listing)
    except DataError:
        return False
    return True


def _require_folders(listing: Listing) -> None:
    """Raises UsageError for a folder without folders."""
    archive = next((name for name in listing.files if ARCHIVE.search(name)), None)
    if archive is not None and not listing.media:
        open_table(listing.path / archive, ReadLimits())  # says how to unpack it
    if not listing.folders:
        raise UsageError(
            f"data {str(listing.path)!r}: holds neither a table nor a folder per class; it holds {listing.describe()}. Read "
            f"are a table ({', '.join(TABLES)}), tables or folders named train, val and test, and a folder per class"
        )
