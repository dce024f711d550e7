"""Opening a user's file: only a regular one, never through a link, never one that is too large. Nothing is interpreted."""

from __future__ import annotations

import os
import stat


class NotRegular(Exception):
    """A file that will not be read; `reason` is the code that lands in quarantine."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def open_regular_file(path: str, max_bytes: float) -> tuple[int, int]:
    """An open handle, which the caller closes, and the size in bytes.

    Raises NotRegular (`not-a-file`, `empty-file`, `file-too-large`) and OSError (ELOOP where the path itself is a link).
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
