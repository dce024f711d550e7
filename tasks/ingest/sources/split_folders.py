"""Folders that are no classes: those of splits, and those that only hold another one."""

from __future__ import annotations

from tasks.errors import DataError
from tasks.ingest.manifest.rows import SPLITS
from tasks.ingest.sources.listing import Listing, modality_of_file
from tasks.ingest.sources.split_tables import split_of_beginning, split_of_ending


def split_folders(listing: Listing) -> dict[str, str]:
    """The folders that are named after splits, or all end or begin so (seg_train, seg_test; train, test1), with the split
    of each.

    DataError where there are several that are named so, and others beside them.
    """
    named = {name: SPLITS[name.lower()] for name in listing.folders if name.lower() in SPLITS}
    others = [name for name in listing.folders if name not in named]
    beginning = {name: found[1] for name in others if (found := split_of_beginning(name)) is not None}
    if len(beginning) == len(others) and len({*named.values(), *beginning.values()}) > 1:
        return named | beginning
    if len(named) > 1 and others:
        raise DataError(
            f"data {listing.path}: holds split folders ({', '.join(named)}) and also {others[0]!r}; "
            "move what is no split elsewhere, or write a manifest"
        )
    if named:
        return {} if others else named
    ending = {name: found for name in others if (found := split_of_ending(name)) is not None}
    is_one_set = len(ending) == len(others) and len({before for before, _ in ending.values()}) == 1
    splits = {name: split for name, (_, split) in ending.items()}
    return splits if is_one_set and len(set(splits.values())) > 1 else {}


def unwrapped(listing: Listing) -> Listing:
    """What lies in the only folder of a folder, and so on, as long as that holds folders, too: archives are packed so."""
    while len(listing.folders) == 1 and not any(map(modality_of_file, listing.files)):
        inner = listing.below(next(iter(listing.folders)))
        if (
            not inner.folders
            or inner.linked
            or any(modality_of_file(file) not in (None, "text") for file in inner.files)
        ):
            break
        listing = inner
    return listing


def below_twice(listing: Listing, part: str) -> Listing:
    """What lies in a split folder, or in the only folder in it where that has the same name: seg_train/seg_train."""
    found = listing.below(part)
    return found.below(part) if list(found.folders) == [part] and not found.files else found
