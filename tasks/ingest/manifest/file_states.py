"""What a read of the manifest took from the file system, and in which state: what has not changed need not be read again.

A file counts as unchanged while its size, its times of modification and of change, and its inode are what they were when it
was read; runtime.verify_files reads all the same. A file that changed shortly before it was read could change again within
one tick of the file system's clock: its state is not kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

_SETTLED_NS = 2_000_000_000
"""Longer than a tick of any file system's clock; that of FAT is the slowest."""
_MAX_FILES = 2_000_000
"""Of more, none is kept: they are held in memory."""


class State(NamedTuple):
    """What the file system says of a file or a folder."""

    inode: int
    bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> State:
        """That of an answer of stat."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


Seen = tuple[State, bytes | None]
"""A file's state with its sha256; a folder's, or the manifest's, without."""


class FileStates:
    """The states of what a read of a manifest has looked at, and the digests of an earlier one."""

    def __init__(self, earlier: dict[str, Seen] | None = None) -> None:
        self._earlier = earlier or {}
        self._began_ns = time.time_ns()
        self.seen: dict[str, Seen] = {}
        self.links: dict[str, str] = {}
        """Folder as it was written to its real path, where these differ."""
        self.is_whole = True
        """Whether nothing else was looked at: no file that is not there, none that may not be read, no address."""

    def digest(self, path: str, read: Callable[[], tuple[os.stat_result, str]]) -> str:
        """The sha256 of the file at a real path: that of the earlier read where it is unchanged, else what `read` finds."""
        known = self._earlier.get(path)
        if known is not None and known[1] is not None and state_of(path) == known[0]:
            self.seen[path] = known
            return known[1].hex()
        found, sha256 = read()
        self._note(path, State.of(found), bytes.fromhex(sha256))
        return sha256

    def note_place(self, path: str) -> None:
        """A folder whose names were looked at, or the manifest, is about to be read."""
        state = state_of(path)
        if state is None:
            self.is_whole = False
        else:
            self._note(path, state, None)

    def _note(self, path: str, state: State, sha256: bytes | None) -> None:
        is_settled = max(state.modified_ns, state.changed_ns) < self._began_ns - _SETTLED_NS
        if is_settled and len(self.seen) < _MAX_FILES:
            self.seen[path] = (state, sha256)
        else:
            self.is_whole = False


def state_of(path: str) -> State | None:
    """What lies at a path, be it a link; None where that cannot be told."""
    try:
        return State.of(os.lstat(path))  # a link is not followed: it is no longer the file that was read
    except OSError:
        return None
