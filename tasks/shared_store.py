"""A store whose results other machines share: the folder is the cache of a bucket (tasks/shared_results.py).

What is absent here is looked for there, and what is written is there before it is here: a process that is killed in between
leaves a result that the next one finds, or objects that nothing names.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tasks import locks, progress
from tasks.errors import EnvironmentFailed
from tasks.object_leases import leased
from tasks.object_storage import ObjectStorage
from tasks.shared_results import SharedResults
from tasks.store import (
    RECORD,
    Found,
    Store,
    canonical_json,
    digest_file,
    has_its_files,
    is_chained,
    read_record,
    replace_file,
    sync,
)

MARK = "remote.json"
"""In the folder of a store that shares its results: where."""
_SHA256 = re.compile("[0-9a-f]{64}", re.ASCII)


def open_store(
    root: str | Path,
    run: str | None = None,
    lock_timeout_s: float = locks.LOCK_TIMEOUT_S,
    view_of: Path | None = None,
) -> Store:
    """The store in this folder, which shares its results where it says so. EnvironmentFailed where it says so unreadably."""
    address = shared_address(Path(root))
    if address is None:
        return Store(root, run, lock_timeout_s, view_of)
    return SharedStore(ObjectStorage(address), root, run, lock_timeout_s, view_of)


def shared_address(root: Path) -> str | None:
    """The bucket's address where the store in this folder shares its results; None where it shares none."""
    path = root / MARK
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFailed(f"store {root}: {path} cannot be read ({error}); remove it, and run it again") from None


def store_option(root: Path) -> str:
    """How a person names the store in this folder on a command line: by the bucket's address where it is the cache of one."""
    return f"--store {shlex.quote(shared_address(root) or str(root))}"


def share(root: Path, address: str) -> None:
    """From now on the store in this folder shares its results there. EnvironmentFailed where it shares them elsewhere."""
    known = shared_address(root)
    if known not in (None, address):
        raise EnvironmentFailed(f"store {root}: is the cache of {known}, not of {address}; remove the folder")
    if known is None:
        root.mkdir(parents=True, exist_ok=True)
        replace_file(root / MARK, canonical_json({"address": address}).encode())


class SharedStore(Store):
    """The cache of a bucket. Methods raise EnvironmentFailed where the bucket does not answer."""

    CHOSEN_BY = "CROSSMODAL_CACHE"

    def __init__(
        self, storage: ObjectStorage, root: str | Path, run: str | None, lock_timeout_s: float, view_of: Path | None
    ) -> None:
        super().__init__(root, run, lock_timeout_s, view_of)
        self.shared = SharedResults(storage)

    def prepare(self) -> None:
        """As of any store; EnvironmentFailed, too, where there is no such bucket."""
        super().prepare()
        self.shared.prepare()

    def refresh(self, *kinds: str) -> None:
        """As of any store: what the bucket has of these counts as absent, too."""
        for kind in kinds:
            self._fetch_parts(kind)
        super().refresh(*kinds)

    def discard_parts(self, uris: Iterable[str]) -> None:
        """These parts are set aside under trash/, and no longer in the bucket."""
        chosen = list(uris)
        for uri in chosen:
            self.shared.forget_part(uri)
        super().discard_parts(chosen)

    def discard(self, kind: str, key: str) -> None:
        """The artifact is set aside under trash/, and no longer in the bucket."""
        self.shared.forget(kind, key)
        super().discard(kind, key)

    @contextlib.contextmanager
    def work_dir(self, kind: str, key: str) -> Iterator[Path]:
        """A folder of this machine's for work that one process of all machines does at a time; as of any store else."""
        with (
            super().work_dir(kind, key) as folder,
            leased(self.shared.storage, folder.name, self.lock_timeout_s, self.run),
        ):
            folder.mkdir(exist_ok=True)
            yield folder

    def record_of(self, uri: str) -> Found | None:
        """As of any store; what is in the bucket only is fetched."""
        kind, _, key = uri.rpartition("/")
        return super().record_of(uri) or self._fetch(kind, key)

    def _find(self, kind: str, key: str) -> Found | None:
        return super()._find(kind, key) or self._fetch(kind, key)

    def _fetch(self, kind: str, key: str) -> Found | None:
        """The artifact as it is in the bucket, verified, and from now on here, too."""
        record = self.shared.read_record(kind, key)
        if record is None:
            return None
        uri = f"{kind}/{key}"
        with self._draft(uri) as scratch:
            folder = scratch / uri
            folder.mkdir(parents=True)
            (folder / RECORD).write_bytes(record)
            found = read_record(scratch, uri)
            if found is not None and not _names_files(found.files):
                found = None
            damaged = [] if found is None else self._download(found)
            if found is None or damaged:
                self._tell_damaged(uri)
                self.shared.forget_damaged(kind, key, damaged)
                return None
            if not is_chained(self.root, found):  # made of what is another result here
                return None
            sync(folder / RECORD)
            target = self.root / uri
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # another process was quicker, or read_record below says that it was not
                folder.rename(target)
                sync(target.parent)
        here = read_record(self.root, uri)
        return here if here is not None and has_its_files(here) else None

    def _tell_damaged(self, uri: str) -> None:
        self.damaged_shared.append(uri)
        progress.log(
            f"store {self.shared.storage.address}: {uri}: is damaged there, and deleted; computed again", "warning"
        )

    def _download(self, found: Found) -> list[str]:
        """The artifact's files are in its folder; the digests of those that the bucket has not as they were."""
        damaged = []
        for name, sha256 in found.files.items():
            path = found.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _fetch_file(partial(self.shared.download_blob, sha256, path), path, sha256):
                damaged.append(sha256)
        return damaged

    def _publish(self, folder: Path, kind: str, key: str, files: dict[str, str]) -> bool:
        if not self.shared.holds(kind):
            return True
        blobs = {folder / name: sha256 for name, sha256 in files.items()}
        record, replaces = (folder / RECORD).read_bytes(), self.is_refreshed(kind)
        for _ in range(2):  # once more where what was there first is damaged, and deleted
            if self.shared.publish(kind, key, record, blobs, replaces):
                return True
            if self._fetch(kind, key) is not None:
                return False
        return True

    def _publish_part(self, path: Path, target: Path) -> None:
        self.shared.publish_part(target.relative_to(self.root).as_posix(), path)

    def _intact_parts(self, kind: str) -> list[str]:
        self._fetch_parts(kind)
        return super()._intact_parts(kind)

    def _fetch_parts(self, kind: str) -> None:
        """What the bucket has of a kind, or of the kinds below a folder, is here, too."""
        for uri in self.shared.parts(kind):
            target = self.root / uri
            if target.exists():
                continue
            with self._draft(uri) as scratch:
                sha256 = target.stem.rpartition("-")[2]
                right = _fetch_file(partial(self.shared.download_part, uri, scratch), scratch, sha256)
                if right is None:
                    continue
                if not right:
                    self._tell_damaged(uri)
                    self.shared.forget_part(uri)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                scratch.rename(target)
                sync(target.parent)


def _fetch_file(download: Callable[[], bool], path: Path, sha256: str) -> bool | None:
    """Whether the file is here, as its digest says; None where the bucket has none.

    It is fetched twice before it is called damaged: what is deleted there is gone for all, and a transfer may go wrong.
    """
    for _ in range(2):
        if not download():
            return None
        if digest_file(path) == sha256:
            sync(path)
            return True
    return False


def _names_files(files: Any) -> bool:
    """Whether a record names files of its own folder, by digests: anybody may have written it."""
    return isinstance(files, dict) and all(
        isinstance(sha256, str)
        and _SHA256.fullmatch(sha256)
        and name != RECORD
        and not {"", ".", ".."} & set(name.split("/"))
        and "\0" not in name
        for name, sha256 in files.items()
    )
