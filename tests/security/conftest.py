"""A canary file that tells when it is opened, a loopback listener that counts who calls, and hostile names."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stages.ingest.conftest import run_ingest
from tests.support.data import write_picture

__all__ = ["run_ingest"]

_WATCHED = 0x01 | 0x02 | 0x20 | 0x100 | 0x200  # inotify: read, written, opened; in a folder: made, removed
HOSTILE_NAMES = (
    "../../escaped",
    "=cmd|'/c calc'!A1",
    "<script>alert(1)</script>",
    "{{7*7}} {% for x in y %} ${7*7} $value",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b2J",
    "\u202egnp.exe\u202c\u200b\u2066",
    "[link](http://127.0.0.1:9/x) ![p](http://127.0.0.1:9/y.png)",
    "[bold]rich[/bold] :smile: [/]",
    "a | b\n| c |\r\nd",
    "latest",
    "L" * 5000,
)
LABELS = (
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "\x1b[31mred\x1b]0;t\x07 \u202e[x](http://127.0.0.1:9/)`{{7*7}}`",
)
"""Short enough to be classes."""
ROOT = Path(__file__).parents[2]


def bare(text: str) -> set[str]:
    """The characters of a text that a terminal acts on or that cannot be seen."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t"}


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


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A picture outside of every data folder, which would decode. The test fails when anyone opened it or wrote beside it."""
    if sys.platform != "linux":
        pytest.skip("needs inotify")
    path = tmp_path / "outside" / "canary.png"
    write_picture(path, 999)
    watch = Watch(path, path.parent)
    yield path
    assert watch.events() == b"", "the canary was opened, or something was written beside it"
    path.read_bytes()
    assert watch.events() != b"", "this watch would not have noticed"
    watch.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """The test fails when anyone connects to it."""
    listening = Listener()
    yield listening
    with socket.create_connection(("127.0.0.1", listening.port)) as last:
        assert last.recv(1) == b""  # accepted, and so is whoever came before: they wait in a queue
    assert listening.hits == 1, "someone connected"
    listening.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with four good pictures, img/0.png to img/3.png."""
    for number in range(4):
        write_picture(tmp_path / f"data/img/{number}.png", number)
    return tmp_path / "data"


@pytest.fixture
def only_data(data: Path) -> Iterator[Path]:
    """`data`, and the assurance that nothing but its own files lies beside it afterwards."""
    before = {path.name for path in data.parent.iterdir()} | {"store", "outside"}
    yield data
    assert {path.name for path in data.parent.iterdir()} <= before
