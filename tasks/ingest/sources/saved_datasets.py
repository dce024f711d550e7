"""Folders that `datasets` wrote by save_to_disk: Arrow files that state.json lists, in one folder or a folder a split."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pydantic import JsonValue

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.rows import SPLITS, Manifest
from tasks.ingest.sources.isolated import open_isolated
from tasks.ingest.sources.limits import ReadLimits
from tasks.ingest.sources.listing import Listing

_STATE, _SPLITS = "state.json", "dataset_dict.json"
_MAX_BYTES = 16 << 20


def is_saved(listing: Listing) -> bool:
    """Whether a folder is one that save_to_disk writes."""
    of_one = _STATE in listing.files and any(name.endswith(".arrow") for name in listing.files)
    return of_one or _SPLITS in listing.files


def open_saved(listing: Listing, limits: ReadLimits) -> list[tuple[Manifest, str | None]]:
    """A manifest for each Arrow file, with the split of its folder. DataError for a folder that is not whole."""
    if _SPLITS not in listing.files:
        return [(manifest, None) for manifest in _open_one(listing, limits)]
    named = _strings(_load(listing, _SPLITS).get("splits"), listing, _SPLITS)
    missing = [name for name in named if name not in listing.folders]
    if missing:
        raise DataError(f"data {listing.path}: {_SPLITS} names the split {missing[0]!r}, and there is no such folder")
    known = [name for name in named if name.lower() in SPLITS]
    if not known:
        raise UsageError(
            f"data {str(listing.path)!r}: none of its splits ({', '.join(named)}) is train, val or test; give the folder of one"
        )
    others = [name for name in named if name not in known]
    is_only = {SPLITS[name.lower()] for name in known} == {"train"}
    notes = [f"splits that are neither train, val nor test are not read: {', '.join(others)}"] if others else []
    notes += ["train is the only split and is divided"] if is_only else []
    found = [
        (manifest, None if is_only else SPLITS[name.lower()])
        for name in known
        for manifest in _open_one(listing.below(name), limits)
    ]
    first, split = found[0]
    found[0] = replace(first, notes=(*first.notes, *notes)), split
    return found


def _open_one(listing: Listing, limits: ReadLimits) -> list[Manifest]:
    if _STATE not in listing.files:
        raise DataError(f"data {listing.path}: no {_STATE}; it was not saved whole")
    state = _load(listing, _STATE)
    if state.get("_indices_data_files"):
        raise DataError(
            f"data {listing.path}: its rows are chosen by a file of indices; save it by a datasets of today"
        )
    entries = state.get("_data_files")
    listed = entries if isinstance(entries, list) else []
    files = [entry.get("filename") if isinstance(entry, dict) else entry for entry in listed]
    names = _strings(files, listing, _STATE)
    for name in names:
        if name not in listing.files or not name.endswith(".arrow"):
            raise DataError(
                f"data {listing.path}: {_STATE} names {name[:80]!r}, and no Arrow file of that name lies there"
            )
        listing.require_inside(name, limits.allowed_roots)
    found = [replace(open_isolated(listing.path / name, limits), root=listing.path) for name in names]
    others = [name for name in listing.files if name.endswith(".arrow") and name not in names]
    notes = [f"saved by datasets: {len(names)} Arrow files of {listing.path.name}"]
    notes += [f"Arrow files that {_STATE} does not name are not read: {', '.join(others[:3])}"] if others else []
    return [replace(found[0], notes=(*notes, *found[0].notes)), *found[1:]]


def _load(listing: Listing, name: str) -> dict[str, JsonValue]:
    listing.require_inside(name, ())
    with (listing.path / name).open("rb") as file:
        text = file.read(_MAX_BYTES)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"data {listing.path / name}: not JSON ({str(error)[:200]})") from None
    if not isinstance(value, dict):
        raise DataError(f"data {listing.path / name}: a JSON object is expected")
    return value


def _strings(values: Any, listing: Listing, name: str) -> list[str]:
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise DataError(f"data {listing.path / name}: it names no files or splits")
    return values
