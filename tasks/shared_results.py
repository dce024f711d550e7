"""The results of a store's stages in a bucket, which the stores of other machines read as well; each is written once.

    records/KIND/KEY.json            of an artifact: its files by sha256, its ref; written last: where it is, all is
    blobs/SHA256                     a file's bytes, once for all artifacts that hold it
    parts/KIND/KEY-SHA256.parquet    a part, whose name holds its own digest

What does not match its digest is deleted and counts as absent, so that it is computed again.
"""

from __future__ import annotations

from pathlib import Path

from tasks import progress
from tasks.object_storage import ObjectStorage

_OWN = frozenset({"champions", "encoders"})
"""Copies of what the registry holds, which every machine asks."""


class SharedResults:
    """What is in the bucket."""

    def __init__(self, storage: ObjectStorage) -> None:
        self.storage = storage

    def holds(self, kind: str) -> bool:
        """Whether results of this kind are shared."""
        return kind.partition("/")[0] not in _OWN

    # -- artifacts ---

    def read_record(self, kind: str, key: str) -> bytes | None:
        """An artifact's record as it was written; None where there is none."""
        return self.storage.read(_record(kind, key)) if self.holds(kind) else None

    def download_blob(self, sha256: str, target: Path) -> bool:
        """A file's bytes, not verified. False where there are none."""
        return self.storage.download(_blob(sha256), target)

    def publish(self, kind: str, key: str, record: bytes, files: dict[Path, str], replaces: bool) -> bool:
        """The artifact is there, its files by their sha256. False where another was first, which stays unless `replaces`."""
        for path, sha256 in files.items():
            self.storage.create(_blob(sha256), path)
        if replaces:
            self.storage.replace(_record(kind, key), record)
            return True
        return self.storage.create(_record(kind, key), record)

    def forget(self, kind: str, key: str) -> None:
        """The artifact counts as absent."""
        self.storage.delete(_record(kind, key))

    def forget_damaged(self, kind: str, key: str, damaged: list[str]) -> None:
        """The artifact and these blobs, which are not what their names say, are no longer there."""
        what = f"{len(damaged)} of its files" if damaged else "its record"
        progress.log(f"store {self.storage.address}: {kind}/{key[:12]}: {what} are damaged; computed again", "warning")
        self.forget(kind, key)
        for sha256 in damaged:
            self.storage.delete(_blob(sha256))

    # -- parts ---

    def publish_part(self, uri: str, path: Path) -> None:
        """The part is there."""
        self.storage.create(f"parts/{uri}", path)

    def parts(self, kind: str) -> list[str]:
        """Store paths of all parts of a kind, or of the kinds below a folder, in name order."""
        return [name.removeprefix("parts/") for name in self.storage.names(f"parts/{kind}")]

    def download_part(self, uri: str, target: Path) -> bool:
        """The part's bytes, not verified. False where there is none."""
        return self.storage.download(f"parts/{uri}", target)

    def forget_part(self, uri: str) -> None:
        """The part is no longer there."""
        self.storage.delete(f"parts/{uri}")


def _record(kind: str, key: str) -> str:
    return f"records/{kind}/{key}.json"


def _blob(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"
