"""A store whose results other machines share: the folder is the cache of a bucket (tasks/shared_results.py).

What is absent here is looked for there, and what is written is there before it is here: a process that is killed in between
leaves a result that the next one finds, or objects that nothing names.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

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

    def __init__(
        self, storage: ObjectStorage, root: str | Path, run: str | None, lock_timeout_s: float, view_of: Path | None
    ) -> None:
        super().__init__(root, run, lock_timeout_s, view_of)
        self.shared = SharedResults(storage)

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
            damaged = [] if found is None else self._download(found)
            if found is None or damaged:
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

    def _download(self, found: Found) -> list[str]:
        """The artifact's files are in its folder; the digests of those that the bucket has not as they were."""
        damaged = []
        for name, sha256 in found.files.items():
            path = found.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.shared.download_blob(sha256, path) and digest_file(path) == sha256:
                sync(path)
            else:
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
                if not self.shared.download_part(uri, scratch):
                    continue
                if digest_file(scratch) != target.stem.rpartition("-")[2]:
                    progress.log(f"store {self.shared.storage.address}: {uri}: is damaged; computed again", "warning")
                    self.shared.forget_part(uri)
                    continue
                sync(scratch)
                target.parent.mkdir(parents=True, exist_ok=True)
                scratch.rename(target)
                sync(target.parent)
