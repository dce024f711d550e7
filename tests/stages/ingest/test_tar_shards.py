"""WebDataset's tar shards: members of one key are a sample, and what an archive may not do.

What `webdataset` itself writes is read in test_written_by_peers.py; here tarfile writes what it never does.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tasks.errors import UsageError
from tasks.ingest.sources.detect import open_manifest
from tests.support.data import write_picture
from tests.support.layouts import ask_worker, write_tar


def shard(path: Path, first: int, last: int) -> None:
    members: dict[str, bytes] = {}
    for number in range(first, last):
        write_picture(path.with_suffix(".png"), number)
        members[f"a.b/{number:04}.png"] = path.with_suffix(".png").read_bytes()
        members[f"a.b/{number:04}.TXT"] = f"picture {number}".encode()
        members[f"a.b/{number:04}.cls"] = b"%d\n" % (number % 2)
        members[f"a.b/{number:04}.json"] = json.dumps({"camera": number, "label": "not this"}).encode()
        members[f"a.b/{number:04}.pyd"] = b"a pickle, say"
    path.with_suffix(".png").unlink()
    write_tar(path, members)


def test_shards_of_splits(tmp_path: Path, run_ingest: Any) -> None:
    shard(tmp_path / "train-000000.tar", 0, 12)
    shard(tmp_path / "train-000001.tar", 12, 20)
    shard(tmp_path / "test-000000.tar", 20, 26)
    done = run_ingest(tmp_path, "split.near_duplicates=false")
    assert (done.clean.counts.used, done.clean.splits["test"], done.clean.labels) == (26, 6, ("0", "1"))
    assert done.clean.modalities == ("image", "text")
    assert "members of shards that are not read: .pyd" in done.raw.notes
    assert [note for note in done.raw.notes if "image from .png" in note and "text from .txt" in note]
    found = open_manifest(tmp_path / "train-{000000..000001}.tar")
    assert [manifest.count for manifest, _ in found] == [12, 8]
    assert next(iter(found[1][0].rows)).values["key"] == "a.b/0012"
    with pytest.raises(UsageError, match=r"1 of its 3 files are not there, the first is train-000002.tar"):
        open_manifest(tmp_path / "train-{000000..000002}.tar")


def test_shards_without_a_split(tmp_path: Path) -> None:
    for number in (1, 0):
        write_tar(tmp_path / f"part-{number}.tar", {f"{number}.txt": b"a", f"{number}.cls": b"x"})
    found = open_manifest(tmp_path)
    assert [(manifest.path.name, split) for manifest, split in found] == [("part-0.tar", None), ("part-1.tar", None)]


@pytest.mark.parametrize(
    ("members", "row"),
    [
        ({"1.jpg": b"j", "1.png": b"p"}, "sample '1' has two files for 'image', .png is one"),
        ({"1.txt": b"\xff\xff"}, "'1.txt': UnicodeDecodeError"),
        ({"1.json": b"{", "1.txt": b"a"}, "'1.json': JSONDecodeError"),
        ({"1.json": b"[1]", "1.txt": b"a"}, "'1.json': ValueError: a JSON object is expected"),
        ({"1.jpg": bytes(200)}, "'1.jpg' has 200 bytes; the limit is media.max_file_mb"),
    ],
)
def test_a_sample_that_costs_itself_only(tmp_path: Path, members: dict[str, bytes], row: str) -> None:
    head, rows = ask_worker(write_tar(tmp_path / "m.tar", members | {"2.txt": b"good"}), file_mb=1e-4)
    assert (head["rows"], len(rows)) == (2, 2)
    assert rows[0].startswith(row)
    assert dict(zip(head["columns"], rows[1], strict=True))["text"] == "good"


def test_archives_that_are_refused(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "m.tar", {f"{n}.txt": b"x" for n in range(4)}).read_bytes()
    for data, words in (
        (b"no archive" * 100, "ReadError"),
        (whole[:1024] + b"?" * 512 + whole[1536:], "damaged at byte 1024"),
        (whole[: 3 * 1024 + 512 + 1], "unexpected end of data"),
        (
            write_tar(tmp_path / "m.tar", dict.fromkeys(("1.txt", "2.txt", "1.cls"), b"x")).read_bytes(),
            "'1' stand apart",
        ),
    ):
        (tmp_path / "m.tar").write_bytes(data)
        assert words in ask_worker(tmp_path / "m.tar")[0]["error"]
    (tmp_path / "m.tar").write_bytes(whole[: 4 * 1024])
    assert "m.tar ends without an end mark; was it cut off?" in ask_worker(tmp_path / "m.tar")[0]["notes"]


def test_links_devices_and_holes_are_no_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "m.tar", "w") as archive:
        for name, kind in (("1.txt", tarfile.SYMTYPE), ("2.txt", tarfile.LNKTYPE), ("3.txt", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            archive.addfile(member)
        good = tarfile.TarInfo("../../4.txt")
        good.size = 4
        archive.addfile(good, io.BytesIO(b"good"))
    head, rows = ask_worker(tmp_path / "m.tar")
    assert [dict(zip(head["columns"], row, strict=True)) for row in rows] == [{"key": "../../4", "text": "good"}]
    assert "members of shards that are not read: links, devices and files with holes" in head["notes"]
