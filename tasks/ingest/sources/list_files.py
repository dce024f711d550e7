"""Lists of files beside class folders that say which are val and test, as Speech Commands has them; and its speakers."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from tasks.ingest.sources.listing import Listing

LISTS = {"validation_list.txt": "val", "testing_list.txt": "test"}
"""File to the split of what it lists; anything else is train."""
NOISE = "_background_noise_"
"""A folder of long recordings to be mixed in: no class."""
_SPEAKER = re.compile(r"(.+)_nohash_\d+$")
_MOST_BYTES = 64 << 20


def listed_splits(listing: Listing) -> dict[str, str]:
    """File to its split, for all that the lists beside the class folders name; empty where there is no list."""
    found: dict[str, str] = {}
    for name in LISTS.keys() & set(listing.files):
        with (listing.path / name).open("rb") as file:
            lines = file.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
        found |= {line.strip().removeprefix("./").replace("\\", "/"): LISTS[name] for line in lines if line.strip()}
    return found


def speaker_of(file: str) -> str | None:
    """Who speaks in SPEAKER_nohash_N.wav; None for another name."""
    found = _SPEAKER.match(PurePosixPath(file).stem)
    return found[1] if found else None
