"""Where a cell's medium lies: a regular file beneath an allowed root, or bytes inside the manifest; and its digest."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.ingest.manifest.file_states import FileStates
from tasks.ingest.manifest.rows import Inline
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.remote import Remote
from tasks.media.files import LFS_POINTER, NotRegular, open_regular_file
from tasks.problems.cells import plain

INLINE = "inline:"
"""Starts the place of a medium that is given inside a Parquet file; a real path starts with a slash."""
_SCHEME = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*://|(?:data|file|ftp|gs|https?|javascript|s3):)", re.IGNORECASE)
_BLOCK = 1 << 20
_NEVER = ("/proc", "/sys")
"""Not data, whatever data.allowed_roots says. Devices and pipes are refused by what they are, wherever they lie."""


@dataclass(frozen=True, slots=True)
class Located:
    """A medium found: `where` is a real path, `inline:<row>:<column>:<file>`, an address, or "" for a text in the cell."""

    where: str
    sha256: str
    text: str | None = None


@dataclass(frozen=True)
class Roots:
    """Where media may lie, and how large a file may be."""

    base: str
    """Relative cells start here."""
    allowed: tuple[str, ...]
    """Real paths of the folders below which a file may lie."""
    max_bytes: float
    remote: Remote | None = None
    """What may be fetched besides; None: nothing."""
    states: FileStates = field(default_factory=FileStates)
    """Of the files that are located."""
    _parents: dict[str, str] = field(default_factory=dict)
    """Folder as written to its real path: resolved once in a scan, as most files share a few folders."""

    def resolve(self, cell: str) -> str:
        """The real path of a cell, but for a link in its last part. Refused where that leads outside."""
        folder, name = os.path.split(os.path.join(self.base, cell))  # noqa: PTH118 - pathlib costs more than the file system
        if name in ("", ".", ".."):
            raise Refused("not-a-file", "a folder")
        real = self._parents.get(folder)
        if real is None:
            real = self._parents[folder] = os.path.realpath(folder)
            if real != os.path.normpath(folder):
                self.states.links[folder] = real
        self.require_inside(real)
        return f"{real.rstrip('/')}/{name}"

    def require_inside(self, folder: str) -> None:
        """Refused for a real folder that is not one of the allowed ones, nor below one."""
        if is_beneath(folder, _NEVER):
            raise Refused("path-outside", "a file that the kernel makes up, in /proc or /sys")
        if not any(folder == root or folder.startswith(root.rstrip("/") + "/") for root in self.allowed):
            raise Refused("path-outside", "beyond the manifest's folder; name its folder in data.allowed_roots")


def is_beneath(real: str, roots: tuple[str, ...]) -> bool:
    """True for a real path that is one of the roots, or below one. Roots may be links."""
    resolved = [os.path.realpath(root) for root in roots]
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in resolved)


def make_roots(
    base: Path,
    allowed: tuple[str, ...],
    max_bytes: float,
    remote: Remote | None = None,
    states: FileStates | None = None,
) -> Roots:
    """The manifest's folder and the user's other folders, as real paths."""
    real = tuple(os.path.realpath(root) for root in (str(base), *allowed))
    return Roots(str(base), real, max_bytes, remote, states or FileStates())


def locate_file(cell: str, roots: Roots) -> Located:
    """The real path and digest of a file named by a cell. Links are checked by where they lead, before anything is read.

    Raises Refused: `path-outside`, `scheme-not-allowed`, `missing-file`, `not-a-file`, `empty-file`, `file-too-large`,
    `unreadable-file`, `bad-path`, `fetch-failed`.
    """
    try:
        return _locate_file(cell, roots)
    except Refused:
        roots.states.is_whole = False  # what is not there, or not to be read, has no state
        raise


def _locate_file(cell: str, roots: Roots) -> Located:
    if "\x00" in cell or not _storable(cell):
        raise Refused("bad-path", "a character in the path that is not text")
    if roots.remote is not None and (url := roots.remote.resolve(cell)) is not None:
        roots.states.is_whole = False
        return Located(url, hashlib.sha256(roots.remote.fetch(url)).hexdigest())
    if _SCHEME.match(cell):
        raise Refused("scheme-not-allowed", _instead_of(cell))
    try:
        path = roots.resolve(cell)
        try:
            return Located(path, _digest(path, roots))
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        roots.states.is_whole = False  # a link that could lead elsewhere the next time
        path = os.path.realpath(path)  # the file itself is a link
        roots.require_inside(os.path.dirname(path))  # noqa: PTH120
        return Located(path, _digest(path, roots))
    except FileNotFoundError:
        raise Refused("missing-file", "no such file") from None
    except NotADirectoryError:
        raise Refused("missing-file", "no such file: a part of its path is no folder") from None
    except NotRegular as error:
        raise Refused(error.reason, error.detail) from None
    except OSError as error:
        raise Refused("unreadable-file", error.strerror or str(error)) from None


def _instead_of(address: str) -> str:
    """What to do about an address that may not be opened."""
    scheme = address.strip().partition(":")[0].lower()
    if scheme == "file":
        return "an address (file:), never opened: write the path alone, without file://"
    if scheme == "data":
        return "a file written into its cell (data:), which is not read: write it as a file, and name its path"
    return "local files only (see data.allowed_schemes); download it, and name its path"


def _storable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _digest(path: str, roots: Roots) -> str:
    """The sha256 of a regular file that is not a link; NotRegular for anything else. Unchanged ones are not read again."""
    return roots.states.digest(path, lambda: _read(path, roots.max_bytes))


def _read(path: str, max_bytes: float) -> tuple[os.stat_result, str]:
    """The state of a file before its bytes were read, and their sha256. They are not interpreted."""
    handle, size = open_regular_file(path, max_bytes)
    try:
        state, digest = os.fstat(handle), hashlib.sha256()
        while block := os.read(handle, min(size + 1, _BLOCK)):
            if block.startswith(LFS_POINTER):
                raise NotRegular(
                    "unreadable-file", "a pointer of Git LFS in place of the file: git lfs pull fetches it"
                )
            digest.update(block)
            if len(block) == size:
                break
        return state, digest.hexdigest()
    finally:
        os.close(handle)


def locate_inline(cell: Inline, file: Path, row: int, column: str) -> Located:
    """The place and digest of bytes inside the manifest. Raises Refused: `missing-bytes`."""
    if cell.sha256 is None:
        raise Refused("missing-bytes", "the cell holds no bytes; a path inside such a cell is not read")
    return Located(f"{INLINE}{row}:{len(column)}:{column}:{file}", cell.sha256)


def split_inline(where: str) -> tuple[Path, str, int]:
    """File, column and row of a place that locate_inline made."""
    row, length, rest = where.removeprefix(INLINE).split(":", 2)
    column = rest[: int(length)]
    return Path(rest[int(length) + 1 :]), column, int(row)


def locate_text(cell: Any) -> Located:
    """The digest of a text given in the cell; a number is its text. Raises Refused: `wrong-type`."""
    if isinstance(cell, int | float):
        cell = plain(cell)
    if not isinstance(cell, str):
        raise Refused("wrong-type", f"a text must be a string, not {type(cell).__name__}")
    return Located("", hashlib.sha256(cell.encode("utf-8", "surrogatepass")).hexdigest(), cell)
