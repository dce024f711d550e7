"""Content-addressed artifacts on disk: written aside, synced, then renamed into place. What exists is complete.

Two shapes. An artifact is a folder `<kind>/<key>/` whose `artifact.json`, written last, lists every file with its
sha256, and carries the ref it stands for and the sha256 of all that it says. A part is a single Parquet file
`<kind>/<key>-<sha256>.parquet` whose name holds its own digest. Reading verifies; what does not match is set aside and
counts as absent.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks import locks
from tasks.drafts import clear_leftovers, draft
from tasks.errors import EnvironmentFailed
from tasks.parquet_parts import write_part
from tasks.store_use import mark_used

FORMAT = 2
RECORD = "artifact.json"
_NOT_LINKED = frozenset({"clean", "docs", "notes", "parents", "source", "uri"})
"""Fields of a ref that say where things lie, and may differ for equal content; its sha256 covers what they point to."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_json(value: Any) -> str:
    """The sha256 of a JSON value's canonical form."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class Draft:
    """An artifact being written: put files below `path`, and the ref's payload into `ref`."""

    path: Path
    ref: dict[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    """Store paths of the artifacts that it is made from."""
    code: str | None = None
    """Digest of the code that makes it."""


@dataclass(frozen=True)
class Found:
    """A verified artifact."""

    path: Path
    uri: str
    ref: dict[str, Any]
    files: dict[str, str]
    """File name to sha256."""
    link: str = ""
    """Digest of what it is, its parents' links and its code; the same for the same work, whatever time that took."""
    parents: dict[str, str] = field(default_factory=dict)
    """Store path of each artifact it was made from, to its link."""
    code: str | None = None
    """Digest of the code that made it."""


class Store:
    """The folder that holds everything a run writes."""

    CHOSEN_BY = "--store"
    """What says where it lies."""

    def __init__(
        self,
        root: str | Path,
        run: str | None = None,
        lock_timeout_s: float = locks.LOCK_TIMEOUT_S,
        view_of: Path | None = None,
    ) -> None:
        self.root = Path(root).absolute()
        self.run = run
        """The run that works through this object, as it says to those who wait for its locks."""
        self.lock_timeout_s = lock_timeout_s
        self.view_of = view_of
        """The store that this one only lets be read (tasks/store_view.py); what is written here is gone with the process."""
        self._refreshed: tuple[str, ...] = ()
        self._earlier: set[str] = set()
        self.recomputed: dict[str, bool] = {}
        """Store path of every artifact that was recomputed under `refresh`, and whether it came out as it was."""
        self.damaged: list[str] = []
        """Store paths of what was found damaged through this object, and set aside under trash/."""
        self.damaged_shared: list[str] = []
        """Store paths of what was found damaged in a bucket that machines share, and deleted there."""

    def path(self, uri: str) -> Path:
        """The real path of a store path."""
        return self.root / uri

    def prepare(self) -> None:
        """Makes the folder and clears what killed runs left; EnvironmentFailed when it cannot be written to."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
            clear_leftovers(self.root)
            (self.root / "tmp").mkdir(exist_ok=True)
            clear_leftovers(self.root / "tmp", drafts_only=True)
        except OSError as error:
            raise EnvironmentFailed(
                f"store {self.root}: cannot be written to ({error.strerror}); choose another with {self.CHOSEN_BY}"
            ) from None

    # -- recomputing ---

    def refresh(self, *kinds: str) -> None:
        """Through this object, what lies in these folders counts as absent until it is recomputed; others still find it."""
        self._refreshed = (*self._refreshed, *kinds)
        parts = [path for kind in kinds for path in (self.root / kind).rglob("*.parquet")]
        self._earlier |= {path.relative_to(self.root).as_posix() for path in parts}

    def is_refreshed(self, kind: str) -> bool:
        """Whether what this folder held before is to be recomputed."""
        return any(kind == name or kind.startswith(f"{name}/") for name in self._refreshed)

    def hidden_parts(self, kind: str) -> list[str]:
        """Store paths of the intact parts that `refresh` hides, in name order."""
        return [uri for uri in self._intact_parts(kind) if uri in self._earlier]

    def discard_parts(self, uris: Iterable[str]) -> None:
        """These parts are set aside under trash/."""
        for uri in uris:
            self._set_aside(self.path(uri))

    # -- artifacts ---

    def record_of(self, uri: str) -> Found | None:
        """What an artifact's record says, its files not looked at; None where there is none, or it is damaged."""
        return read_record(self.root, uri)

    def find(self, kind: str, key: str) -> Found | None:
        """The artifact, verified file by file, or None; a damaged one is set aside under trash/."""
        if self.is_refreshed(kind) and f"{kind}/{key}" not in self.recomputed:
            return None
        return self._find(kind, key)

    def discard(self, kind: str, key: str) -> None:
        """The artifact is set aside under trash/."""
        self._set_aside_damaged(self.root / kind / key)

    def _find(self, kind: str, key: str) -> Found | None:
        folder = self.root / kind / key
        if not mark_used(self.root, folder):
            return None
        found = read_record(self.root, f"{kind}/{key}")
        if found is not None and is_chained(self.root, found) and has_its_files(found):
            return found
        if folder.exists():
            self._set_aside_damaged(folder)
        return None

    @contextlib.contextmanager
    def create(self, kind: str, key: str, parents: Iterable[str] = (), code: str | None = None) -> Iterator[Draft]:
        """Yields a draft; on a clean exit the artifact is in place, on an error nothing is left.

        `parents` are the store paths of the artifacts that it is made from: each one's link is in the record.
        """
        with self._draft(f"{kind}/{key}") as folder:
            folder.mkdir()
            artifact = Draft(folder, parents=tuple(parents), code=code)
            yield artifact
            self._commit(artifact, kind, key)

    def _commit(self, draft: Draft, kind: str, key: str) -> None:
        files = {}
        for path in sorted(draft.path.rglob("*")):
            sync(path)
            if path.is_file():
                files[path.relative_to(draft.path).as_posix()] = digest_file(path)
        links = {uri: found.link for uri in draft.parents if (found := read_record(self.root, uri)) is not None}
        record = {"format": FORMAT, "kind": kind, "key": key, "files": files, "ref": draft.ref}
        record |= ({"parents": links} if links else {}) | ({"code": draft.code} if draft.code else {})
        write_text(draft.path / RECORD, canonical_json({**record, "sha256": digest_json(record)}))
        sync(draft.path)
        target = self.root / kind / key
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.is_refreshed(kind) and (earlier := self._find(kind, key)) is not None:
            # The refs are compared, not the files: some of those tell how long the work took.
            same = canonical_json(earlier.ref) == canonical_json(draft.ref)
            self.recomputed[f"{kind}/{key}"] = same
            if same:
                return
            self._set_aside(target)
        if not self._publish(draft.path, kind, key, files):
            return
        while True:
            try:
                draft.path.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if self.find(kind, key) is not None:  # another run finished the same work first
                    return
                continue  # what lay there was damaged, and find has set it aside
            sync(target.parent)
            if self.is_refreshed(kind):
                self.recomputed.setdefault(f"{kind}/{key}", True)
            return

    def _publish(self, folder: Path, kind: str, key: str, files: dict[str, str]) -> bool:
        """Whether the folder, complete now, is to become the artifact here: not where another machine's does instead."""
        return True

    # -- parts ---

    def put_part(self, kind: str, key: str, table: pa.Table) -> str:
        """Writes one Parquet part and returns its store path."""
        with self._draft(f"{kind}/{key}") as scratch:
            write_part(table, scratch)
            sync(scratch)
            target = self.root / kind / f"{key}-{digest_file(scratch)}.parquet"
            self._publish_part(scratch, target)
            target.parent.mkdir(parents=True, exist_ok=True)
            scratch.rename(target)
            sync(target.parent)
        uri = target.relative_to(self.root).as_posix()
        self.add_part(uri)
        return uri

    def add_part(self, uri: str) -> None:
        """A part that was just written, perhaps by another process, counts as new, though the same bytes lay here before."""
        self._earlier.discard(uri)

    def _publish_part(self, path: Path, target: Path) -> None:
        """What the file at `path` holds may become the part at `target`."""

    def parts(self, kind: str) -> list[str]:
        """Store paths of the intact parts of a kind, in name order; damaged ones are set aside."""
        return [uri for uri in self._intact_parts(kind) if uri not in self._earlier]

    def _intact_parts(self, kind: str) -> list[str]:
        intact: list[str] = []
        if not mark_used(self.root, self.root / kind):
            return intact
        for path in sorted((self.root / kind).glob("*.parquet")):
            try:
                right = verified_digest(path) == path.stem.rpartition("-")[2]
            except FileNotFoundError:
                continue  # another run has just set it aside
            if right:
                intact.append(path.relative_to(self.root).as_posix())
            else:
                self._set_aside_damaged(path)
        return intact

    # -- scratch ---

    @contextlib.contextmanager
    def work_dir(self, kind: str, key: str) -> Iterator[Path]:
        """A folder for work that resumes after a kill, held by one process at a time; a second one waits for it, and says so.

        EnvironmentFailed where it waited for longer than `lock_timeout_s`.
        """
        folder = self.root / "work" / f"{kind}-{key}"
        with locks.held(folder.with_name(f"{folder.name}.lock"), self.lock_timeout_s, self.run):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder

    @contextlib.contextmanager
    def scratch_dir(self) -> Iterator[Path]:
        """An empty folder in the store that is gone afterwards; the next run clears it where this process is killed."""
        with self._draft("scratch files") as folder:
            folder.mkdir()
            yield folder

    def _draft(self, what: str) -> contextlib.AbstractContextManager[Path]:
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        return draft(self.root / "tmp", what=f"store {self.root}: {what}")

    def _set_aside_damaged(self, path: Path) -> None:
        self.damaged.append(path.relative_to(self.root).as_posix())
        self._set_aside(path)

    def _set_aside(self, path: Path) -> None:
        trash = self.root / "trash"
        trash.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another run was quicker
            path.rename(trash / f"{path.name[:40]}-{uuid.uuid4().hex}")


def read_record(root: Path, uri: str) -> Found | None:
    """What an artifact's record says; None where there is none, or it is not as it was written, or not of this place."""
    kind, _, key = uri.rpartition("/")
    try:
        record = json.loads((root / uri / RECORD).read_text(encoding="utf-8"))
        known = record.pop("sha256") == digest_json(record)
        if not known or (record["format"], record["kind"], record["key"]) != (FORMAT, kind, key):
            return None
        parents, code = dict(record.get("parents", {})), record.get("code")
        content = {name: value for name, value in record["ref"].items() if name not in _NOT_LINKED}
        held = {} if "sha256" in content else record["files"]
        link = digest_json([kind, content, held, sorted(parents.values()), code])
        return Found(root / uri, uri, record["ref"], record["files"], link, parents, code)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def has_its_files(found: Found) -> bool:
    """Whether every file of an artifact is there, as its record says."""
    try:
        return all(verified_digest(found.path / name) == sha256 for name, sha256 in found.files.items())
    except OSError:
        return False


def is_chained(root: Path, found: Found) -> bool:
    """Whether what an artifact was made from is still what lies in its place, or is no longer there."""
    above = {uri: read_record(root, uri) for uri in found.parents}
    return all(there is None or there.link == found.parents[uri] for uri, there in above.items())


_digests: dict[str, tuple[tuple[int, ...], str]] = {}
"""Digests taken by this process: path to (device, inode, size, change time in ns) and sha256."""
_SETTLED_NS = 100_000_000  # a file changed later than this before the look could change again within one clock tick


def verified_digest(path: Path) -> str:
    """The sha256 of a file's bytes, taken once per process for as long as the file system reports no change to it."""
    state = path.stat()
    seen = (state.st_dev, state.st_ino, state.st_size, state.st_ctime_ns)
    known = _digests.get(str(path))
    if known is not None and known[0] == seen:
        return known[1]
    settled = time.time_ns() - state.st_ctime_ns > _SETTLED_NS
    digest = digest_file(path)
    if settled:
        _digests[str(path)] = (seen, digest)
    return digest


def write_text(path: Path, text: str) -> None:
    """Writes a text file and syncs it to disk."""
    path.write_text(text, encoding="utf-8")
    sync(path)


def replace_file(path: Path, data: bytes) -> None:
    """Replaces a file's content in one step: a reader sees the old bytes or the new ones, never a mixture."""
    with replacing(path) as scratch:
        scratch.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields where to write what becomes the file at `path`, in one step, on a clean exit; on an error nothing changes."""
    with draft(path.parent, path.name, str(path)) as scratch:
        yield scratch
        sync(scratch)
        scratch.rename(path)


def sync(path: Path) -> None:
    """The file, or the folder's list of names, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
