"""Two machines, one bucket: each result is made once, verified where it is read, and whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.errors import EnvironmentFailed
from tasks.object_storage import ObjectStorage
from tasks.shared_store import MARK, SharedStore, open_store, share
from tasks.store import Store
from tests.support.buckets import bucket, s3_environment
from tests.waiting import wait_until

__all__ = ["bucket", "s3_environment"]

WRITE = """
import os, sys
from tasks.shared_store import open_store
with open_store(sys.argv[1]).create("checkpoints", "k") as draft:
    for number in range(200):
        (draft.path / f"{number}.bin").write_bytes(os.urandom(1000))
    draft.ref = {"by": "the killed one"}
"""


@pytest.fixture
def machines(bucket: str, tmp_path: Path) -> tuple[Store, Store]:
    """The stores of two machines."""
    for name in ("a", "b"):
        share(tmp_path / name, f"{bucket}/team")
    return open_store(tmp_path / "a"), open_store(tmp_path / "b")


def put(store: Store, text: str, key: str = "k", kind: str = "checkpoints", parents: tuple[str, ...] = ()) -> None:
    with store.create(kind, key, parents) as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub/a.txt").write_text(text)
        (draft.path / "same.txt").write_text("in every artifact")
        draft.ref = {"sha256": text}


def text_of(store: Store, key: str = "k", kind: str = "checkpoints") -> str | None:
    found = store.find(kind, key)
    return None if found is None else (found.path / "sub/a.txt").read_text()


def part(*values: int) -> pa.Table:
    return pa.table({"digest": [str(value) for value in values]})


def test_what_one_machine_made_the_other_finds(machines: tuple[Store, Store], bucket: str) -> None:
    a, b = machines
    assert isinstance(a, SharedStore)
    assert text_of(b) is None
    put(a, "hello")
    assert text_of(b) == text_of(a) == "hello"
    found, there = b.find("checkpoints", "k"), a.find("checkpoints", "k")
    assert found is not None
    assert there is not None
    assert (found.link, found.files) == (there.link, there.files)
    put(b, "made of it", "k2", "evaluations", ("checkpoints/k",))
    assert text_of(a, "k2", "evaluations") == "made of it"
    uri = a.put_part("features/x", "p", part(1, 2))
    assert b.parts("features/x") == a.parts("features/x") == [uri]
    assert b.path(uri).read_bytes() == a.path(uri).read_bytes()
    assert len(list(ObjectStorage(bucket).names("team/blobs"))) == 3, "one of the file that all have"


def test_copies_of_the_registry_stay_on_their_machine(machines: tuple[Store, Store], bucket: str) -> None:
    a, b = machines
    put(a, "version 1", kind="champions")
    assert text_of(a, kind="champions") == "version 1"
    assert text_of(b, kind="champions") is None
    assert ObjectStorage(bucket).names("") == []


def test_of_two_that_did_the_same_work_the_first_counts_on_both(machines: tuple[Store, Store]) -> None:
    a, b = machines
    with b.create("checkpoints", "k") as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub/a.txt").write_text("second")
        put(a, "first")
    assert text_of(a) == text_of(b) == "first"


def test_what_was_there_first_and_is_damaged_gives_way(
    machines: tuple[Store, Store], bucket: str, tmp_path: Path
) -> None:
    a, b = machines
    storage = ObjectStorage(f"{bucket}/team")
    with b.create("checkpoints", "k") as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub/a.txt").write_text("second")
        put(a, "first")
        for name in storage.names("blobs"):
            storage.replace(name, b"damaged")
    share(tmp_path / "c", storage.address)
    assert text_of(b) == text_of(open_store(tmp_path / "c")) == "second"


@pytest.mark.parametrize("damaged", ["records/checkpoints/k.json", "blobs"])
def test_damage_in_the_bucket_counts_as_absent_and_is_made_good(
    machines: tuple[Store, Store], bucket: str, damaged: str
) -> None:
    a, b = machines
    put(a, "hello")
    storage = ObjectStorage(f"{bucket}/team")
    for name in storage.names(damaged) or [damaged]:
        data = storage.read(name)
        assert data is not None
        storage.replace(name, bytes([data[0] ^ 1]) + data[1:])
    assert text_of(b) is None
    put(b, "hello")
    b.discard_parts([])
    assert text_of(Store(b.root)) == "hello"
    a.path("checkpoints/k/sub/a.txt").write_text("damaged here")
    assert text_of(a) == "hello", "healed from the bucket"


def test_a_damaged_part_is_computed_again(machines: tuple[Store, Store], bucket: str) -> None:
    a, b = machines
    uri = a.put_part("features/x", "p", part(1, 2))
    storage = ObjectStorage(f"{bucket}/team")
    storage.replace(f"parts/{uri}", b"nothing of the kind")
    assert b.parts("features/x") == []
    assert b.put_part("features/x", "p", part(1, 2)) == uri
    assert storage.read(f"parts/{uri}") == a.path(uri).read_bytes()


def test_a_writer_killed_in_the_middle_leaves_nothing_that_is_read(machines: tuple[Store, Store], bucket: str) -> None:
    a, b = machines
    storage = ObjectStorage(f"{bucket}/team")
    with subprocess.Popen([sys.executable, "-c", WRITE, str(a.root)]) as writer:
        wait_until(lambda: len(storage.names("blobs")) > 3, "the first files are in the bucket")
        os.kill(writer.pid, signal.SIGKILL)
    assert 3 < len(storage.names("blobs")) < 200
    assert storage.names("records") == []
    assert text_of(a) is None
    assert text_of(b) is None
    put(b, "whole")
    assert text_of(a) == text_of(b) == "whole"


def test_what_is_recomputed_replaces_what_the_bucket_had(machines: tuple[Store, Store], tmp_path: Path) -> None:
    a, b = machines
    put(a, "old")
    old = a.put_part("features/x", "p", part(1))
    b.refresh("checkpoints", "features/x")
    assert text_of(b) is None
    assert b.parts("features/x") == []
    put(b, "new")
    new = b.put_part("features/x", "p", part(1, 2))
    b.discard_parts([old])
    share(tmp_path / "c", a.shared.storage.address if isinstance(a, SharedStore) else "")
    c = open_store(tmp_path / "c")
    assert text_of(c) == text_of(b) == "new"
    assert c.parts("features/x") == [new]
    b.discard("checkpoints", "k")
    assert text_of(open_store(b.root)) is None


def test_work_is_done_on_one_machine_at_a_time(machines: tuple[Store, Store]) -> None:
    a, b = machines
    order = []
    with a.work_dir("train", "k"):
        thread = threading.Thread(target=lambda: _train(b, order))
        thread.start()
        order.append("first")
        put(a, "first")
    thread.join()
    assert order == ["first", "found first"]


def _train(store: Store, order: list[str]) -> None:
    with store.work_dir("train", "k"):
        order.append(f"found {text_of(store)}")


def test_a_folder_is_the_cache_of_one_bucket(tmp_path: Path, bucket: str) -> None:
    share(tmp_path / "a", bucket)
    share(tmp_path / "a", bucket)
    with pytest.raises(EnvironmentFailed, match=f"is the cache of {bucket}, not of s3://other"):
        share(tmp_path / "a", "s3://other")
    (tmp_path / "a" / MARK).write_text("[]")
    with pytest.raises(EnvironmentFailed, match=f"{MARK} cannot be read"):
        open_store(tmp_path / "a")
    assert type(open_store(tmp_path / "b")) is Store
