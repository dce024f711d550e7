"""A canary file that tells when it is opened, a loopback listener that counts who calls, and hostile names."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.data import write_picture
from tests.support.ingesting import run_ingest
from tests.support.watching import Listener, Watch

__all__ = ["run_ingest"]


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
