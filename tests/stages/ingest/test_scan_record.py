"""What is read again of a manifest: what the file system says has changed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_contracts.refs import RawRef
from tasks.config import load_config
from tasks.ingest.manifest import file_states, media_files
from tasks.ingest.manifest.scan import scan
from tasks.store import Store

NAMES = ["a.txt", "b.txt", "c.txt"]


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled however lately they were written."""
    monkeypatch.setattr(file_states, "_SETTLED_NS", -(10**18))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes were read."""
    names: list[str] = []
    read = media_files._read

    def noted(path: str, max_bytes: float) -> tuple[os.stat_result, str]:
        found = read(path, max_bytes)
        names.append(Path(path).name)
        return found

    monkeypatch.setattr(media_files, "_read", noted)
    return names


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"text of {name}")
    lines = ["id,text_path,label", *(f"{name[0]},{name},x" for name in NAMES)]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def scanned(data: Path, store: Store, reads: list[str], *settings: str) -> tuple[RawRef, list[str]]:
    """What a scan ends with, and the files that it read."""
    reads.clear()
    found = scan(load_config({}, list(settings)), store, data / "manifest.csv")
    return found, sorted(reads)


def test_unchanged_files_are_read_once(data: Path, store: Store, reads: list[str]) -> None:
    first, read = scanned(data, store, reads)
    assert read == NAMES
    assert scanned(data, store, reads, "train.epochs=9", "name=other") == (first, [])
    assert scanned(data, store, reads, "runtime.verify_files=true") == (first, NAMES)
    assert scanned(data, store, reads, "data.columns.text=text_path")[1] == NAMES, "read under other settings"


def test_a_changed_file_and_a_new_row_alone_are_read(data: Path, store: Store, reads: list[str]) -> None:
    first, _ = scanned(data, store, reads)
    state = (data / "b.txt").stat()
    (data / "b.txt").write_text("TEXT of b.txt")  # as long, and with its time of modification set back
    os.utime(data / "b.txt", ns=(state.st_atime_ns, state.st_mtime_ns))
    changed, read = scanned(data, store, reads)
    assert (read, changed.sha256 == first.sha256) == (["b.txt"], False)
    (data / "d.txt").write_text("text of d.txt")
    with (data / "manifest.csv").open("a") as file:
        file.write("d,d.txt,x\n")
    more, read = scanned(data, store, reads)
    assert (read, more.rows) == (["d.txt"], 4)
    assert scanned(data, store, reads) == (more, [])


def test_a_file_that_comes_or_goes_is_noticed(data: Path, store: Store, reads: list[str]) -> None:
    first, _ = scanned(data, store, reads)
    (data / "c.txt").rename(data.parent / "c.txt")
    without, read = scanned(data, store, reads)
    assert (read, without.sha256 == first.sha256) == ([], False)
    (data.parent / "c.txt").rename(data / "c.txt")
    assert scanned(data, store, reads) == (first, ["c.txt"]), "what was missing has no state"


def test_a_folder_that_is_a_link_is_followed_again(data: Path, store: Store, reads: list[str]) -> None:
    for name in ("one", "two"):
        (data / name).mkdir()
        (data / name / "e.txt").write_text(f"text of {name}")
    (data / "now").symlink_to("one")
    (data / "manifest.csv").write_text("id,text_path,label\ne,now/e.txt,x\n")
    first, _ = scanned(data, store, reads)
    (data / "now").unlink()
    (data / "now").symlink_to("two")
    second, read = scanned(data, store, reads)
    assert (read, first.sha256 == second.sha256) == (["e.txt"], False)


def test_a_file_that_has_just_changed_is_read_again(
    data: Path, store: Store, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_states, "_SETTLED_NS", 10**18)
    first, _ = scanned(data, store, reads)
    assert scanned(data, store, reads) == (first, NAMES)


@pytest.mark.parametrize("harm", ["cut", "other", "no table"])
def test_a_damaged_record_is_no_record(data: Path, store: Store, reads: list[str], harm: str) -> None:
    first, _ = scanned(data, store, reads)
    (path,) = store.root.glob("work/scan-*/states.parquet")
    whole = path.read_bytes()
    middle = len(whole) // 3
    changed = {"cut": whole[:middle], "other": whole[:40] + b"\0" * 8 + whole[48:], "no table": b"{}"}
    path.write_bytes(changed[harm])
    assert scanned(data, store, reads) == (first, NAMES)


def test_where_the_raw_table_is_gone_all_rows_are_located_again(data: Path, store: Store, reads: list[str]) -> None:
    first, _ = scanned(data, store, reads)
    store.discard("raw", first.uri.rpartition("/")[2])
    assert scanned(data, store, reads) == (first, []), "the files are known all the same"
    assert store.find("raw", first.uri.rpartition("/")[2]) is not None
