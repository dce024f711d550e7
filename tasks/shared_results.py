"""The results of a store's stages in a bucket, which the stores of other machines read as well; each is written once.

    layout                           the number of this layout
    records/KIND/KEY.json            of an artifact: its files by sha256, its ref; written last: where it is, all is
    blobs/SHA256                     a file's bytes, once for all artifacts that hold it
    parts/KIND/KEY-SHA256.parquet    a part, whose name holds its own digest

What does not match its digest is deleted and counts as absent, so that it is computed again.
"""

from __future__ import annotations

import re
from pathlib import Path

from tasks.errors import EnvironmentFailed
from tasks.object_storage import ObjectStorage

_LAYOUT = b"1"
_PART = re.compile(r"(?:[\w-][\w.+-]*/)+[\w-]{1,150}-[0-9a-f]{64}\.parquet", re.ASCII)
_OWN = frozenset({"champions", "encoders"})
"""Copies of what the registry holds, which every machine asks."""


class SharedResults:
    """What is in the bucket."""

    def __init__(self, storage: ObjectStorage) -> None:
        self.storage = storage

    def prepare(self) -> None:
        """The bucket is there, and laid out as this code knows it. EnvironmentFailed where it is not."""
        found = self.storage.read("layout")
        if found is None and not self.storage.create("layout", _LAYOUT):
            found = self.storage.read("layout")
        if found not in (None, _LAYOUT):
            text = f"store {self.storage.address}: is laid out as {found[:20]!r} says, which this version does not know"
            raise EnvironmentFailed(f"{text}; use the version of crossmodal that writes it, or another PREFIX")

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
        self.forget(kind, key)
        for sha256 in damaged:
            self.storage.delete(_blob(sha256))

    # -- parts ---

    def publish_part(self, uri: str, path: Path) -> None:
        """The part is there."""
        self.storage.create(f"parts/{uri}", path)

    def parts(self, kind: str) -> list[str]:
        """Store paths of all parts of a kind, or of the kinds below a folder, in name order; other objects are none."""
        names = (name.removeprefix("parts/") for name in self.storage.names(f"parts/{kind}"))
        return [name for name in names if _PART.fullmatch(name)]

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
