"""What lies at a data path: a table, a medium, or a folder with tables, class folders or media in it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.errors import CrossmodalError, DataError, UsageError
from tasks.ingest.manifest.rows import SPLITS, Manifest
from tasks.ingest.sources.cell_lists import count_divided, divide_cells
from tasks.ingest.sources.class_folders import open_files, open_folders
from tasks.ingest.sources.coco import CAPTIONS, with_pictures_of
from tasks.ingest.sources.describing import describing_tables
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.list_files import open_listed, split_lists
from tasks.ingest.sources.listing import Listing, list_folder, modality_of_file
from tasks.ingest.sources.numbered_lists import is_numbered, open_numbered
from tasks.ingest.sources.sample_parts import refuse_one_class, refuse_parts
from tasks.ingest.sources.saved_datasets import is_saved, open_saved
from tasks.ingest.sources.shards import expand_range, names_range, shards_of
from tasks.ingest.sources.split_folders import below_twice, split_folders, unwrapped
from tasks.ingest.sources.split_tables import SplitTables, find_split_tables, qualified_tables, split_of_ending
from tasks.ingest.sources.streams import format_of
from tasks.ingest.sources.tables import ARCHIVE, TABLES, is_table, open_table, open_unnamed
from tasks.problems.cells import storable

_PREFERRED = (".parquet", *TABLES)
"""Which manifest.* counts where a folder holds several."""
Manifests = list[tuple[Manifest, str | None]]
"""Each with the split that its name gives, if any."""


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
        found: Manifests = [(_open_named(listing, limits.table, limits), None)]
    else:
        found = _open_listing(listing, limits)
    if listing.hidden:
        counted = ", ".join(f"{count} {name}" for name, count in listing.hidden.most_common(5))
        more = ", …" if len(listing.hidden) > 5 else ""
        found = _noted(found, f"hidden and system files and folders are left out, with what they hold: {counted}{more}")
    return found


def _open_listing(listing: Listing, limits: ReadLimits) -> Manifests:
    found = _open_by_names(listing, limits) if limits.layout != "folders" else []
    if found:
        return found
    table = _open_only_table(listing, limits)
    if table is not None:
        return [(table, None)]
    parts = split_folders(listing)
    if parts:
        found = _open_parts(listing, parts, limits)
        where = "ends" if any(split_of_ending(name) for name in parts) else "beginnings"
        note = f"{', '.join(parts)} are read as splits, by the {where} of their names"
        return found if all(name.lower() in SPLITS for name in parts) else _noted(found, note)
    inner = unwrapped(listing)
    if inner is not listing and limits.labelled:
        note = f"{inner.path.relative_to(listing.path)} is all that the folder holds, and is read in its place"
        note += f"; beside it are not read: {', '.join(listing.files[:3])}" if listing.files else ""
        return _noted(_open_listing(inner, limits), note)
    if listing.media and (not listing.folders or _is_unlabelled(listing, limits)):
        return [(open_files(listing), None)]
    _require_folders(listing)
    if limits.layout == "auto" and limits.labelled:
        refuse_parts(listing)
        refuse_one_class([listing], listing)
    return [(open_folders([listing], listing)[0], None)]


def _noted(found: Manifests, *notes: str) -> Manifests:
    """The manifests, of which the first has these notes, too."""
    (first, split), *others = found
    return [(replace(first, notes=(*first.notes, *notes)), split), *others]


def _is_unlabelled(listing: Listing, limits: ReadLimits) -> bool:
    """Whether the folders of a folder to be predicted are no classes: media lie beside them."""
    return not limits.labelled and limits.layout != "folders" and any(map(modality_of_file, listing.files))


def _open_by_names(listing: Listing, limits: ReadLimits) -> Manifests:
    """What is meant by the names of its files; none where they say nothing."""
    if is_saved(listing):
        return open_saved(listing, limits)
    tables = [name for name in listing.files if is_table(name)]
    named = [name for name in tables if _stem(name) == "manifest" and limits.layout == "auto"]
    if named:
        chosen = min(named, key=lambda name: _PREFERRED.index(format_of(name)))
        return [(_open_entry(listing, chosen, limits), None)]
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
    if of_splits or limits.layout == "tables":
        return _open_split_tables(listing, of_splits, limits)
    shards = [] if listing.media else shards_of(listing)
    return [(replace(_open_entry(listing, name, limits), root=listing.path), None) for name in shards]


def _stem(name: str) -> str:
    return Path(name).name.split(".")[0].lower()


def _open_split_tables(listing: Listing, folders: SplitTables, limits: ReadLimits) -> Manifests:
    """The tables that are named after splits, all in one folder; with a note on tables beside them.

    UsageError where several folders hold some, as the configurations of a data set of the hub, and none is chosen.
    """
    if not folders:
        raise UsageError(
            f"data.layout=tables: {str(listing.path)!r} holds no table that is named train, val or test; it holds "
            f"{listing.describe()}; set data.layout=auto to find what it is"
        )
    chosen = "." if "." in folders and limits.config is None else next(iter(folders)) if len(folders) == 1 else None
    if limits.config is not None:
        chosen = next((folder for folder in folders if folder.split("/")[-1] == limits.config), None)
    if chosen is None:
        asked = "" if limits.config is None else f", and none of them is {limits.config!r}"
        raise UsageError(
            f"data {str(listing.path)!r}: several sets of tables are named after splits "
            f"({', '.join(folders)}){asked}; choose one with --set data.config={next(iter(folders)).split('/')[-1]}"
        )
    captioned = {CAPTIONS.sub("instances_", name) for name in folders[chosen] if CAPTIONS.search(name)}
    names = [name for name in folders[chosen] if name not in captioned]  # COCO's labels are read with the captions
    splits = {name: folders[chosen][name] for name in names}
    opened = [replace(_open_entry(listing, name, limits), root=listing.path) for name in names]
    known = {column for manifest in opened for column in manifest.columns}
    for name, split in qualified_tables([name for name in listing.files if is_table(name)], folders[chosen]).items():
        with contextlib.suppress(CrossmodalError):  # a table of something else, which is said to be left out
            manifest = _open_entry(listing, name, limits)
            if known.issuperset(manifest.columns):
                opened.append(replace(manifest, root=listing.path))
                splits[name] = split
    qualified = [name for name in splits if name not in names]
    lonely = set(splits.values()) == {"train"}  # nothing else is given: its rows are divided
    media = frozenset(listing.media)
    found: Manifests = [
        (with_pictures_of(manifest, media), None if lonely else splits[name])
        for manifest, name in zip(opened, splits, strict=True)
    ]
    others = [name for name in listing.files if is_table(name) and name not in {*folders[chosen], *splits}]
    notes = [f"tables whose names are no split are not read: {', '.join(others)}"] if others else []
    read_as = ", ".join(f"{name} as {splits[name]}" for name in qualified)
    notes += [f"read by the beginnings of their names: {read_as}"] if qualified else []
    notes += ["train is the only split and is divided"] if lonely else []
    return _noted(found, *notes)


def _open_parts(listing: Listing, parts: dict[str, str], limits: ReadLimits) -> Manifests:
    """The split folders: each with a table that describes its files, or all with class folders."""
    below = [below_twice(listing, part) for part in parts]
    splits = list(parts.values())
    tables = [_open_only_table(part, limits) for part in below]
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
            refuse_parts(part)
        refuse_one_class(below, listing)
    return list(zip(open_folders(below, listing), splits, strict=True))


def _open_only_table(listing: Listing, limits: ReadLimits) -> Manifest | None:
    """The table that describes the media of a folder, or that lies there without any; None where there is no table.

    DataError where there are tables and it is not plain which one is meant, or whether one is.
    """
    if not listing.tables or limits.layout == "folders":
        return None
    others = listing.tables
    if not listing.media:
        described = [] if len(listing.tables) > 1 else [_open_entry(listing, listing.tables[0], limits)]
    else:
        for name in listing.tables:
            listing.require_inside(name, limits.allowed_roots)
        described, others = describing_tables(listing, limits)
        if not described and not others:
            return None
    if len(described) == 1:
        table = described[0]
        beside = [name for name in listing.folders if any(map(modality_of_file, listing.folders[name]))]
        note = f"{table.path.name} names the files of this folder and is read"
        note += f"; {', '.join(beside[:5])} are no classes (data.layout=folders takes them for such)" if beside else ""
        return replace(table, notes=(*table.notes, note)) if listing.media else table
    names = [str(table.path.relative_to(listing.path)) for table in described] or others
    what = "name its files" if described else "name none of its files"
    raise DataError(
        f"data {listing.path}: holds {listing.describe()}, and the tables {', '.join(names[:5])} {what}: "
        f"give the one that is meant, --data {listing.path / names[0]}; or set data.layout=folders to read a folder "
        "per class and no table"
    )


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


def _open_entry(listing: Listing, name: str, limits: ReadLimits) -> Manifest:
    """The table that was found in a folder."""
    listing.require_inside(name, limits.allowed_roots)
    return open_table(listing.path / name, limits)


def _open_named(listing: Listing, name: str, limits: ReadLimits) -> Manifest:
    """The table that data.table names. UsageError where it is not there."""
    if not (listing.path / name).is_file():
        near = difflib.get_close_matches(name, listing.tables, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it holds {listing.describe()}"
        raise UsageError(f"data.table {name!r}: no such file in {str(listing.path)!r}; {hint}")
    return replace(_open_entry(listing, name, limits), root=listing.path)
