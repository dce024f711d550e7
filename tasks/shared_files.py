"""Files of equal bytes that take the room of one: blocks that the file system shares, else one file with several names."""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
import uuid
from pathlib import Path

_FICLONE = 0x40049409
"""linux/fs.h: the open file takes over the blocks of another one, each changed by itself later (btrfs, XFS)."""


def link_file(source: Path, target: Path) -> None:
    """`target` holds the bytes of `source`, and what lay there is replaced in one step.

    It takes no room where the file system can share blocks, or allows a file two names. Under two names a file that is
    changed in place is changed under both: nothing here does that, and digests tell where something else did.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex}")
    try:
        if not _clone(source, scratch):
            scratch.unlink(missing_ok=True)
            try:
                os.link(source, scratch)
            except OSError:  # another file system, one without links, or as many names as a file may have
                shutil.copyfile(source, scratch)
        scratch.rename(target)
    finally:
        scratch.unlink(missing_ok=True)  # renamed onto another name of the same file it stays


def share_blocks(source: Path, target: Path) -> None:
    """`target`, which holds the bytes of `source`, takes no room where the file system can share blocks (btrfs, XFS).

    Elsewhere it stays the copy that it is: of what cannot be computed again, or only in hours, damage to one must not be damage
    to all.
    """
    scratch = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex}")
    try:
        if _clone(source, scratch):
            scratch.rename(target)
    finally:
        scratch.unlink(missing_ok=True)


def link_folder(source: Path, target: Path) -> None:
    """`target` holds every file of `source`, as `link_file` leaves them."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            link_file(path, target / path.relative_to(source))


def link_equal_files(source: Path, target: Path) -> None:
    """Files right in `target` that are equal to those of the same name in `source` take no room."""
    for path in target.iterdir():
        other = source / path.name
        if path.is_file() and other.is_file() and filecmp.cmp(other, path, shallow=False):
            link_file(other, path)


def _clone(source: Path, target: Path) -> bool:
    """Whether the new file `target` shares the blocks of `source`."""
    with source.open("rb") as old, target.open("wb") as new:
        try:
            fcntl.ioctl(new, _FICLONE, old.fileno())
        except OSError:
            return False
    return True
