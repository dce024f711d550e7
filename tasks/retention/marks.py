"""From what is to be kept (the refs of runs, as JSON, and published models) to the store paths that it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tasks.store import read_record

_DOCS = "/docs"
PathsOfMedia = Callable[[str, str], Iterable[str]]
"""Modality and fingerprint of media to the store paths of what is kept of these media."""


def paths_of(value: Any, of_media: PathsOfMedia) -> set[str]:
    """Store paths of the artifacts and parts that refs name, wherever in the JSON; also in refs of another release."""
    found: set[str] = set()
    if isinstance(value, dict):
        found |= {value["uri"]} if isinstance(value.get("uri"), str) else set()
        found |= _docs_in(value.get("docs"))
        media = value.get("media")
        if isinstance(media, dict):
            for name, fingerprint in media.items():
                found.update(of_media(name.partition("_")[0], str(fingerprint)))  # image_2 is of image
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            found |= paths_of(inner, of_media)
    return found


def _docs_in(value: Any) -> set[str]:
    """Of Data Docs the validation that they are of."""
    named = value.values() if isinstance(value, dict) else [value]
    return {path.removesuffix(_DOCS) for path in named if isinstance(path, str)}


def with_parents(root: Path, paths: Iterable[str]) -> set[str]:
    """The paths, and those of all artifacts that these were made from."""
    waiting, found = list(paths), set[str]()
    while waiting:
        uri = waiting.pop()
        if uri not in found:
            found.add(uri)
            record = read_record(root, uri)
            waiting += [] if record is None else list(record.parents)
    return found
