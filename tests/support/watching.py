"""What the kernel saw happen to files, and a loopback listener that counts who calls."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

_WATCHED = 0x01 | 0x02 | 0x20 | 0x100 | 0x200  # inotify: read, written, opened; in a folder: made, removed


class Watch:
    """What the kernel saw happen to some files and folders, in whatever process."""

    def __init__(self, *paths: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in paths:
            assert libc.inotify_add_watch(self._handle, os.fsencode(path), _WATCHED) > 0

    def events(self) -> bytes:
        """The events since the last look; empty when there were none."""
        try:
            return os.read(self._handle, 1 << 16)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        os.close(self._handle)


class Listener:
    """Accepts connections on the loopback address and counts them."""

    def __init__(self) -> None:
        self.hits = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.02)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        port: int = self._server.getsockname()[1]
        return port

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            self.hits += 1
            connection.close()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._server.close()
