"""Cells that lead elsewhere: nothing outside of the data folder is opened, no one is called, and each says why."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import DataError, UsageError
from tasks.ingest.manifest import media_files
from tasks.ingest.manifest.media_files import locate_file, make_roots
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.detect import open_manifest
from tasks.media.files import open_regular_file
from tests.support.data import write_manifest, write_picture
from tests.support.watching import Listener


def _attack(run_ingest: Any, data: Path, cell: str, *overrides: str) -> str:
    """The reason that a manifest with one good row and this cell gives for the cell."""
    rows = [{"id": "good", "image": "img/0.png", "label": "a"}, {"id": "bad", "image": cell, "label": "b"}]
    done = run_ingest(write_manifest(data / "m.csv", rows), *overrides)
    assert set(done.samples) == {"good"}
    return str(done.reasons["bad"])


@pytest.mark.parametrize(
    "cell",
    [
        "{canary}",
        "../outside/canary.png",
        "img/../../outside/canary.png",
        "img/../../outside/./canary.png",
        "//{canary}",
        "link.png",
        "folder/canary.png",
        "chain.png",
    ],
)
def test_a_path_out_of_the_data_folder(run_ingest: Any, data: Path, canary: Path, cell: str) -> None:
    (data / "link.png").symlink_to(canary)
    (data / "chain.png").symlink_to("link.png")
    (data / "folder").symlink_to(canary.parent)
    assert _attack(run_ingest, data, cell.format(canary=canary)) == "path-outside"


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("file://{canary}", "scheme-not-allowed"),
        ("file:{canary}", "scheme-not-allowed"),
        (" FILE://{canary}", "scheme-not-allowed"),
        ("http://127.0.0.1:{port}/x.png", "scheme-not-allowed"),
        ("HTTPS://127.0.0.1:{port}/x.png", "scheme-not-allowed"),
        ("s3://127.0.0.1:{port}/x.png", "scheme-not-allowed"),
        ("simplecache::http://127.0.0.1:{port}/x.png", "missing-file"),
        ("url:http://127.0.0.1:{port}/x.png", "missing-file"),
        ("concat:{canary}|img/0.png", "missing-file"),
        ("data:image/png;base64,iVBORw0KGgo=", "scheme-not-allowed"),
        ("\\\\127.0.0.1@{port}\\x.png", "missing-file"),
        ("~/x.png", "missing-file"),
        ("$HOME/x.png", "missing-file"),
        ("img/0.png%00.txt", "missing-file"),
        ("img", "not-a-file"),
        (".", "not-a-file"),
    ],
)
def test_a_cell_that_is_no_local_path(
    run_ingest: Any, data: Path, canary: Path, listener: Listener, cell: str, reason: str
) -> None:
    assert _attack(run_ingest, data, cell.format(canary=canary, port=listener.port)) == reason


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("/proc/self/environ", "path-outside"),
        ("/proc/self/fd/0", "path-outside"),
        ("/proc/version", "path-outside"),
        ("/sys/kernel/notes", "path-outside"),
        ("/dev/zero", "not-a-file"),
        ("/dev/null", "not-a-file"),
        ("kernel", "path-outside"),
    ],
)
def test_kernel_files_and_devices_even_where_every_folder_is_allowed(
    run_ingest: Any, data: Path, cell: str, reason: str
) -> None:
    (data / "kernel").symlink_to("/proc/version")
    assert _attack(run_ingest, data, cell, 'data.allowed_roots=["/"]') == reason


def test_a_pipe_and_a_socket_do_not_hang(run_ingest: Any, data: Path) -> None:
    os.mkfifo(data / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(data)  # a socket's path must be short
        server.bind("sock.png")
        os.chdir(here)
        assert _attack(run_ingest, data, "pipe.png") == "not-a-file"
        assert _attack(run_ingest, data, "sock.png") in ("not-a-file", "unreadable-file")


def test_a_link_that_is_swapped_in_after_the_path_was_judged(
    data: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at a path and its opening, its folder, or the file itself, becomes a link to elsewhere."""
    real_resolve = media_files.Roots.resolve

    def resolve_then_swap_folder(roots: media_files.Roots, cell: str) -> str:
        path = real_resolve(roots, cell)
        (data / "img").rename(data / "aside")
        (data / "img").symlink_to(canary.parent)
        return path

    monkeypatch.setattr(media_files.Roots, "resolve", resolve_then_swap_folder)
    with pytest.raises(Refused):
        locate_file("img/canary.png", make_roots(data, (), 1e6))
    with pytest.raises(OSError, match=r"(?i)not a directory|symbolic"):
        open_regular_file(f"{data}/img/canary.png", 1e6)  # what the decoding process does, later
    (data / "aside/4.png").symlink_to(canary)
    with pytest.raises(OSError, match=r"(?i)symbolic"):
        open_regular_file(f"{data}/aside/4.png", 1e6)


def test_a_race_of_swapped_links_never_wins(data: Path, canary: Path) -> None:
    inside, outside, flip = data / "img", canary.parent, data / "flip"
    (inside / "canary.png").write_bytes(b"harmless")
    stop = threading.Event()

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            (data / "next").symlink_to((inside, outside)[turn % 2])
            (data / "next").rename(flip)
            turn += 1

    racer = threading.Thread(target=swap)
    racer.start()
    outcomes: set[str] = set()
    tries = 0
    try:
        while tries < 2_000 or len(outcomes) < 2:  # with a single outcome the race was never on
            tries += 1
            try:
                outcomes.add(locate_file("flip/canary.png", make_roots(data, (), 1e6)).where)
            except Refused as refused:
                outcomes.add(refused.reason)
    finally:
        stop.set()
        racer.join()
    assert outcomes <= {f"{inside}/canary.png", "path-outside", "missing-file", "unreadable-file"}


def test_a_path_beside_inline_bytes_is_not_read(run_ingest: Any, data: Path, canary: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    good = {"bytes": (data / "img/0.png").read_bytes(), "path": str(canary)}
    cells = pa.array([good, {"bytes": None, "path": str(canary)}], kind)
    pq.write_table(pa.table({"id": ["good", "bad"], "image": cells, "label": ["a", "b"]}), data / "m.parquet")
    assert run_ingest(data / "m.parquet").reasons == {"bad": "missing-bytes"}


@pytest.mark.parametrize("name", ["manifest.csv", "train.csv", "manifest.parquet"])
def test_a_manifest_in_a_folder_that_is_a_link_to_elsewhere(data: Path, canary: Path, name: str) -> None:
    (data / name).symlink_to(canary)
    with pytest.raises(UsageError, match=f"{name} is a link that leads outside"):
        open_manifest(data)


def test_class_folders_that_are_links(run_ingest: Any, data: Path, canary: Path, tmp_path: Path) -> None:
    """One to elsewhere is one refused row and is not listed; one to a parent is no endless walk; one inside is followed."""
    (data / "img").rename(data / "cats")
    write_picture(data / ".kept/deep/9.png", 9)
    (data / "cats/leak.png").symlink_to(canary)
    (data / "stray").symlink_to(canary.parent)
    (data / "loop").symlink_to(data)
    (data / "root").symlink_to("/")
    (data / "other").symlink_to(data / ".kept")
    done = run_ingest(data)
    assert done.reasons == dict.fromkeys(("stray", "loop", "root", "cats/leak.png"), "path-outside")
    assert set(done.samples) == {f"cats/{number}.png" for number in range(4)} | {"other/deep/9.png"}


def test_ids_and_labels_like_paths_write_nothing_outside_the_store(run_ingest: Any, only_data: Path) -> None:
    rows = [
        {"id": f"../../escaped{number}", "image": f"img/{number}.png", "label": f"../../../escaped{number % 2}"}
        for number in range(4)
    ]
    rows[3]["image"] = "../nothing"
    done = run_ingest(write_manifest(only_data / "m.csv", rows))
    assert done.reasons == {"../../escaped3": "path-outside"}


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.nulls(9_000_000, pa.int32()), "declares 9000000 values in a column"),
        (pa.array([[None] * 9_000_000], pa.list_(pa.int8())), "declares 9000000 values in a column"),
        (pa.array(["x" * (1 << 20)] * 64), "declares 671"),
    ],
)
def test_a_tiny_parquet_file_that_declares_much(data: Path, column: pa.Array, words: str) -> None:
    pq.write_table(pa.table({"label": column}), data / "m.parquet", compression="zstd", use_dictionary=False)
    assert (data / "m.parquet").stat().st_size < 25_000
    with pytest.raises(DataError, match=rf"it has \d+ bytes and {words}"):
        open_manifest(data / "m.parquet")
