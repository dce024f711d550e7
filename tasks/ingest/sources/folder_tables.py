"""The tables of a data folder: those that are named after splits, the one that describes its media, the one that is named."""

from __future__ import annotations

import contextlib
import difflib
from dataclasses import replace
from pathlib import PurePosixPath

from tasks.errors import CrossmodalError, DataError, UsageError
from tasks.ingest.manifest.rows import SPLITS, Manifest
from tasks.ingest.sources.class_folders import may_give_splits
from tasks.ingest.sources.coco import CAPTIONS, with_pictures_of
from tasks.ingest.sources.describing import describing_tables, is_form
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import Listing, modality_of_file
from tasks.ingest.sources.split_tables import SplitTables, qualified_tables, tables_beside
from tasks.ingest.sources.tables import open_table

Manifests = list[tuple[Manifest, str | None]]
"""Each with the split that its name gives, if any."""
_NAMES_SHOWN = 5


def noted(found: Manifests, *notes: str) -> Manifests:
    """The manifests, of which the first has these notes, too."""
    (first, split), *others = found
    return [(replace(first, notes=(*first.notes, *notes)), split), *others]


def open_split_tables(listing: Listing, folders: SplitTables, limits: ReadLimits) -> Manifests:
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
    opened = [replace(open_entry(listing, name, limits), root=listing.path) for name in names]
    known = {column for manifest in opened for column in manifest.columns}
    for name, split in qualified_tables(tables_beside(listing, folders[chosen]), folders[chosen]).items():
        with contextlib.suppress(CrossmodalError):  # a table of something else, which is said to be left out
            manifest = open_entry(listing, name, limits)
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
    others = tables_beside(listing, {*folders[chosen], *splits})
    more = ", …" if len(others) > _NAMES_SHOWN else ""
    notes = (
        [f"tables whose names are no split are not read: {', '.join(others[:_NAMES_SHOWN])}{more}"] if others else []
    )
    read_as = ", ".join(f"{name} as {splits[name]}" for name in qualified)
    notes += [f"read by the beginnings of their names: {read_as}"] if qualified else []
    notes += ["train is the only split and is divided"] if lonely else []
    notes += [f"{beside}, which data.layout=folders reads" for beside in _classes_beside(listing)]
    return noted(found, *notes)


def _classes_beside(listing: Listing) -> list[str]:
    """A note on folders in one that is named after a split: they may be classes, too."""
    inner: dict[PurePosixPath, set[str]] = {}
    for file in listing.media:
        folder = PurePosixPath(file).parent
        inner.setdefault(folder.parent, set()).add(folder.name)
    found = [folder for folder, names in inner.items() if folder.name.lower() in SPLITS and len(names) > 1]
    return [f"{found[0]} holds folders that may be classes"] if found else []


def refuse_lakehouse(listing: Listing) -> None:
    """Raises DataError for a table of Delta Lake or Iceberg: rows that were deleted since stand in its files."""
    is_delta = "_delta_log" in listing.folders
    is_iceberg = any(file.endswith(".avro") for file in listing.folders.get("metadata", []))
    if is_delta or is_iceberg:
        kind, way = ("Delta Lake", "deltalake.DeltaTable") if is_delta else ("Iceberg", "pyiceberg's StaticTable")
        raise DataError(
            f"data {listing.path}: a table of {kind}, whose files also hold rows that were deleted since: write the "
            f"rows that count to one Parquet file ({way} reads them), and give that one"
        )


def open_only_table(listing: Listing, limits: ReadLimits) -> Manifest | None:
    """The table that describes the media of a folder, or that lies there without any; None where there is no table.

    DataError where there are tables and it is not plain which one is meant, or whether one is.
    """
    if not listing.tables or limits.layout == "folders":
        return None
    tables = [name for name in listing.tables if not is_form(name)]
    forms = [name for name in listing.tables if is_form(name)]
    others = tables
    if not listing.media:
        tables = tables or forms
        described = [] if len(tables) > 1 else [open_entry(listing, tables[0], limits)]
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
        notes = [note] if listing.media else []
        lists = [name for name in listing.files if may_give_splits(name) and name.endswith(".txt")]
        if lists:
            notes.append(
                f"{', '.join(lists[:3])} may say what is train and test, and is not read: a column split says it"
            )
        if forms and tables != forms:
            notes.append(f"{', '.join(forms)}: a form for answers, by its name; it is not read")
        return replace(table, notes=(*table.notes, *notes))
    names = [str(table.path.relative_to(listing.path)) for table in described] or others
    holds = f"data {listing.path}: holds {listing.describe()}, and the tables {', '.join(names[:_NAMES_SHOWN])} "
    if not listing.media:
        raise DataError(
            f"{holds}are named after no splits: give the one that is meant, --data {listing.path / names[0]}; where they are "
            "parts of one table, write it, with pandas: pandas.concat(tables), or, of folders named label=cat, "
            "pandas.read_parquet(folder)"
        )
    if not described and _beside_media(names, listing):
        raise DataError(
            f"{holds}are named as the files beside them, of which each may hold one's label: write one table that names "
            "each file and its label (file_name,label)"
        )
    raise DataError(
        f"{holds}{'name its files' if described else 'name none of its files'}: give the one that is meant, --data "
        f"{listing.path / names[0]}; or set data.layout=folders to read a folder per class and no table"
    )


def _beside_media(tables: list[str], listing: Listing) -> bool:
    """Whether there are several tables, each with a medium of its own name beside it: 001.jpg, 001.json."""
    stems = {str(PurePosixPath(file).with_suffix("")) for file in listing.media}
    return len(tables) > 1 and all(str(PurePosixPath(table).with_suffix("")) in stems for table in tables)


def open_entry(listing: Listing, name: str, limits: ReadLimits) -> Manifest:
    """The table that was found in a folder."""
    listing.require_inside(name, limits.allowed_roots)
    return open_table(listing.path / name, limits)


def open_named(listing: Listing, name: str, limits: ReadLimits) -> Manifest:
    """The table that data.table names. UsageError where it is not there."""
    if not (listing.path / name).is_file():
        near = difflib.get_close_matches(name, listing.tables, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it holds {listing.describe()}"
        raise UsageError(f"data.table {name!r}: no such file in {str(listing.path)!r}; {hint}")
    return replace(open_entry(listing, name, limits), root=listing.path)
