"""Opening a user's file: only a regular one, never through a link, never one that is too large. Nothing is interpreted."""

from __future__ import annotations

import os
import stat

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
"""O_PATH, where there is one: a folder that may be entered but not listed will do."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file begins with that Git LFS has not fetched."""


class NotRegular(Exception):
    """A file that will not be read; `reason` is the code that lands in quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def open_regular_file(path: str, max_bytes: float) -> tuple[int, int]:
    """An open handle, which the caller closes, and the size in bytes, of the file at a real path.

    No part of the path may be a link: one that was swapped in after the path was checked is not followed. Raises NotRegular
    (`not-a-file`, `empty-file`, `file-too-large`) and OSError (ELOOP where the file is a link, ENOTDIR where a folder is).
    """
    handle = _open_without_links(path)
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise NotRegular("not-a-file", "a folder, a device or a pipe")
        if state.st_size == 0:
            raise NotRegular("empty-file", "0 bytes")
        if state.st_size > max_bytes:
            raise NotRegular("file-too-large", f"{state.st_size} bytes; the limit is media.max_file_mb")
    except NotRegular:
        os.close(handle)
        raise
    return handle, state.st_size


def _open_without_links(path: str) -> int:
    """Opens folder after folder, each relative to the one before: a name is looked up once, and never through a link."""
    *folders, name = path.strip("/").split("/")
    place = os.open("/" if path.startswith("/") else ".", _FOLDER)
    try:
        for folder in folders:
            inner = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = inner
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=place)
    finally:
        os.close(place)
