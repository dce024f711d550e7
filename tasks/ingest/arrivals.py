"""Whether data have arrived: what lies in a folder, a manifest or a bucket against what was there when it was last acted on.

The place is kept in one small file of the store. It moves on only after whatever is to be done has been arranged, under a key
that is the same if it is arranged twice: so a kill at any point loses no arrival, and starts nothing twice.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from data_contracts.refs import Frozen
from tasks.config import RunConfig
from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.remote import WEB, is_remote, make_remote
from tasks.store import digest_file, digest_json, replace_file

UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".filepart", ".swp", ".lock", "~")
"""Ends of the names under which programs write files that are not complete yet."""
_STAMPS = ("ETag", "etag", "version_id", "LastModified", "last_modified", "updated", "mtime", "created")
"""What fsspec's file systems call that which changes with an object's content, the surest first."""
Outcome = Literal["nothing there", "unchanged", "settling", "arrived"]


class Seen(Frozen):
    """A file as a look finds it."""

    size: int
    stamp: str
    """Time of the last change in ns, or an object's ETag."""


class KnownFile(Seen):
    """A file as it was acted on."""

    content: str
    """sha256; of an object in a bucket its ETag, which is not fetched to be digested."""


Listing = dict[str, Seen]


class Place(Frozen):
    """How far a watch is."""

    watch: str
    """Random, once for each place file: keys of a lost one are not mistaken for this one's."""
    sequence: int = 0
    """How often something has arrived."""
    files: dict[str, KnownFile] = Field(default_factory=dict)
    """As they were when they were last acted on."""
    pending: str | None = None
    """Digest of the listing that has to settle."""
    since_s: float = 0.0
    """When that listing was first seen."""
    run: str | None = None
    """Started for the last arrival, and not known to have begun."""
    attempt: int = 0

    @property
    def key(self) -> str:
        """The same for the same arrival, however often it is acted on."""
        files = {name: kept.content for name, kept in self.files.items()}
        return digest_json([self.watch, self.sequence, files, self.attempt])


@dataclass(frozen=True)
class Poll:
    """What a poll found, and the place after it: to be kept at once, or after the arrival has been acted on."""

    outcome: Outcome
    place: Place
    changed: tuple[str, ...] = ()
    """Names that are new, different or gone."""


def poll(place: Place, listing: Listing, now_s: float, settle_s: float, digest: Callable[[str], str]) -> Poll:
    """Data have arrived when the listing differs from what was acted on, in content too, and has been the same for `settle_s`.

    A first look never finds an arrival: what it sees could still be growing. An empty source is not acted on: more likely
    it is not mounted than all data are gone.
    """
    settled = place.model_copy(update={"pending": None, "since_s": 0.0})
    if not listing:
        return Poll("nothing there", settled)
    if listing == {name: Seen(size=kept.size, stamp=kept.stamp) for name, kept in place.files.items()}:
        return Poll("unchanged", settled)
    seen = digest_json({name: file.model_dump() for name, file in listing.items()})
    if place.pending != seen or now_s < place.since_s:  # the clock was set back
        return Poll("settling", place.model_copy(update={"pending": seen, "since_s": now_s}))
    if now_s - place.since_s < settle_s:
        return Poll("settling", place)
    files = {name: _keep(name, file, place.files.get(name), digest) for name, file in listing.items()}
    before = {name: kept.content for name, kept in place.files.items()}
    after = {name: kept.content for name, kept in files.items()}
    if before == after:  # touched, or written anew with the same bytes
        return Poll("unchanged", settled.model_copy(update={"files": files}))
    changed = tuple(sorted(name for name in {*before, *after} if before.get(name) != after.get(name)))
    return Poll("arrived", _advance(settled, files), changed)


def _keep(name: str, file: Seen, before: KnownFile | None, digest: Callable[[str], str]) -> KnownFile:
    known = before is not None and (before.size, before.stamp) == (file.size, file.stamp)
    content = before.content if known and before is not None else digest(name)
    return KnownFile(size=file.size, stamp=file.stamp, content=content)


def _advance(place: Place, files: dict[str, KnownFile]) -> Place:
    return place.model_copy(update={"files": files, "sequence": place.sequence + 1, "attempt": 0, "run": None})


# -- sources ---


def list_source(source: str, config: RunConfig) -> Listing:
    """The finished files of a folder (and below it), of a bucket's prefix, or one file; empty where there is nothing.

    Hidden and empty files, and names by which programs mark unfinished ones, are left out. UsageError for an address that
    may not be read, EnvironmentFailed where the store does not answer.
    """
    if is_remote(source):
        return _list_remote(source, config)
    root = Path(source)
    if root.is_file():
        return _listing([root], root.parent)
    found = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    return _listing(found, root)


def digest_in(source: str, listing: Listing) -> Callable[[str], str]:
    """digest(name) is the sha256 of a file's bytes, or what the store says in its place."""
    if is_remote(source):
        return lambda name: f"{listing[name].size}:{listing[name].stamp}"
    root = Path(source)
    return lambda name: digest_file(root if root.is_file() else root / name)


def is_finished(name: str) -> bool:
    """Whether neither a file's name nor a folder's above it says that it is hidden or not complete."""
    parts = name.split("/")
    return not any(part.startswith(".") for part in parts) and not parts[-1].lower().endswith(UNFINISHED)


def _listing(paths: list[Path], root: Path) -> Listing:
    listing = {}
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        try:
            state = path.stat()
        except OSError:  # removed since it was listed, or a link to nowhere
            continue
        if path.is_file() and state.st_size and is_finished(name):
            listing[name] = Seen(size=state.st_size, stamp=str(state.st_mtime_ns))
    return listing


def _list_remote(source: str, config: RunConfig) -> Listing:
    import fsspec

    try:
        url = make_remote(config).allow(source)
    except Refused as refused:
        raise UsageError(f"source {source!r}: {refused.reason} ({refused.detail})") from None
    if url.partition("://")[0] in WEB:
        raise UsageError(f"source {source!r}: the web has no folders to look into; watch a bucket or a folder")
    try:
        system, path = fsspec.core.url_to_fs(url)
        system.invalidate_cache()
        found: dict[str, dict[str, Any]] = system.find(path, detail=True)
    except FileNotFoundError:
        return {}
    except ImportError as error:
        raise UsageError(f"source {source!r}: {error}; install its package, as in crossmodal[remote]") from None
    except Exception as error:  # noqa: BLE001 (stores raise what they like)
        message = one_line(str(error), 200)
        raise EnvironmentFailed(f"source {source!r}: {type(error).__name__}: {message}", transient=True) from None
    names = {key.removeprefix(path).lstrip("/") or key.rpartition("/")[2]: entry for key, entry in found.items()}
    stamps = {name: str(next((entry[key] for key in _STAMPS if entry.get(key)), "")) for name, entry in names.items()}
    return {
        name: Seen(size=int(entry.get("size") or 0), stamp=stamps[name])
        for name, entry in sorted(names.items())
        if entry.get("size") and is_finished(name)
    }


# -- the place file ---


def read_place(path: Path) -> Place:
    """The place that is kept in a file; a new one where there is none. EnvironmentFailed where it is damaged."""
    try:
        return Place.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Place(watch=uuid.uuid4().hex)
    except ValidationError:
        raise EnvironmentFailed(
            f"watch {path}: damaged; remove it, and what lies in the source is acted on once more"
        ) from None


def write_place(path: Path, place: Place) -> None:
    """The file holds the place, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, place.model_dump_json().encode())
