"""Two machines, one bucket: each result is made once, verified where it is read, and whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from flows.cli import main
from flows.commands.deploy import make_target
from flows.history import run_config
from flows.hosting.backup import restore
from flows.summary import notes_of_store
from tasks.errors import EnvironmentFailed, UsageError
from tasks.object_storage import ObjectStorage
from tasks.shared_store import MARK, SharedStore, open_store, share, store_option
from tasks.store import Store, canonical_json, digest_json
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
    assert b.damaged_shared == ["checkpoints/k"]
    assert "in the bucket, and deleted there (checkpoints/k)" in notes_of_store(b)[0]
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


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil-of-a-test", "artifact.json", "a//b", "a/../../b", "\0"])
def test_a_record_that_names_files_elsewhere_is_damage(
    machines: tuple[Store, Store], bucket: str, tmp_path: Path, name: str
) -> None:
    """Who can write into the bucket writes no file on the machines of others but into their cache."""
    a, b = machines
    put(a, "hello")
    storage = ObjectStorage(f"{bucket}/team")
    record = json.loads(storage.read("records/checkpoints/k.json") or b"")
    record["files"][name] = record["files"]["same.txt"]
    del record["sha256"]
    storage.replace("records/checkpoints/k.json", canonical_json({**record, "sha256": digest_json(record)}).encode())
    before = {path for path in tmp_path.rglob("*") if "trash" not in path.parts}
    assert text_of(b) is None
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before == set()
    assert not Path("/tmp/evil-of-a-test").exists()
    assert storage.names("records") == []


def test_parts_whose_names_lead_elsewhere_are_none(
    machines: tuple[Store, Store], bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, b = machines
    data = b"not a part"
    names = [
        f"x/../../../../p-{hashlib.sha256(data).hexdigest()}.parquet",
        "x/p.pkl",
        f"x/{'p' * 300}-{'0' * 64}.parquet",
    ]
    found = [f"parts/features/{name}" for name in names]
    monkeypatch.setattr(ObjectStorage, "names", lambda *_: found)  # moto's server takes no such name; Amazon's does
    monkeypatch.setattr(ObjectStorage, "download", lambda _self, _name, target: bool(target.write_bytes(data)))
    assert b.parts("features/x") == []
    assert list(tmp_path.rglob("p*-*.parquet")) == []


def test_what_is_damaged_on_its_way_is_fetched_again(
    machines: tuple[Store, Store], bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machines
    put(a, "hello")
    uri = a.put_part("features/x", "p", part(1, 2))
    seen, download = set[str](), ObjectStorage.download

    def download_badly(storage: ObjectStorage, name: str, target: Path) -> bool:
        """As download; cut the first time."""
        found = download(storage, name, target)
        if name not in seen:
            seen.add(name)
            target.write_bytes(target.read_bytes()[:-1])
        return found

    monkeypatch.setattr(ObjectStorage, "download", download_badly)
    assert text_of(b) == "hello"
    assert b.parts("features/x") == [uri]
    assert len(seen) == 3


def test_the_chain_of_what_another_machine_decided_is_whole(machines: tuple[Store, Store]) -> None:
    """Though this one has fetched nothing of it."""
    a, b = machines
    put(a, "evaluated", "e", "evaluations")
    put(a, "decided", "v", "verdicts", ("evaluations/e",))
    here = a.record_of("verdicts/v")
    assert here is not None
    found = [b.record_of(uri) for uri in ("verdicts/v", *here.parents)]
    assert [None if it is None else it.link for it in found] == [here.link, here.parents["evaluations/e"]]
    assert b.record_of("verdicts/other") is None


def test_status_shows_the_bucket_and_who_works(
    machines: tuple[Store, Store], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = machines
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    b.prepare()
    put(a, "hello")
    a.put_part("features/x", "p", part(1, 2))
    with a.work_dir("train", "k"), pytest.raises(SystemExit) as ended:
        main(["store", "status", "--store", str(b.root), "--json"])
    assert not ended.value.code
    bucket = json.loads(capsys.readouterr().out)["bucket"]
    assert {kind: number for kind, (number, _) in bucket["objects"].items()} == {
        "blobs": 2,
        "layout": 1,
        "leases": 1,
        "parts/features": 1,
        "records/checkpoints": 1,
    }
    assert bucket["bytes"] == sum(size for _, size in bucket["objects"].values()) > 0
    assert list(bucket["leases"]) == ["train-k"]
    assert str(os.getpid()) in bucket["leases"]["train-k"]


def test_what_is_for_other_machines_names_the_bucket_and_not_this_ones_folder(
    machines: tuple[Store, Store], tmp_path: Path
) -> None:
    a, _ = machines
    assert isinstance(a, SharedStore)
    assert make_target(a, "pool", "process", None).store == a.shared.storage.address
    assert make_target(Store(tmp_path / "c"), "pool", "process", None).store == str(tmp_path / "c")
    with pytest.raises(UsageError, match="a backup is restored into a folder"):
        restore(tmp_path, a)
    with pytest.raises(EnvironmentFailed, match=r"run 1: is not in .*another machine"):
        run_config(a, "1")


def test_a_bucket_that_is_not_there_is_told_before_any_work(bucket: str, tmp_path: Path) -> None:
    share(tmp_path / "a", "s3://nobody-made-this/team")
    with pytest.raises(EnvironmentFailed, match="store s3://nobody-made-this/team: there is no such bucket"):
        open_store(tmp_path / "a").prepare()
    share(tmp_path / "b", f"{bucket}/team")
    open_store(tmp_path / "b").prepare()
    open_store(tmp_path / "b").prepare()
    ObjectStorage(f"{bucket}/team").replace("layout", b"7")
    with pytest.raises(EnvironmentFailed, match="is laid out as b'7' says, which this version does not know"):
        open_store(tmp_path / "b").prepare()


def test_a_folder_is_the_cache_of_one_bucket(tmp_path: Path, bucket: str) -> None:
    share(tmp_path / "a", bucket)
    share(tmp_path / "a", bucket)
    with pytest.raises(EnvironmentFailed, match=f"is the cache of {bucket}, not of s3://other"):
        share(tmp_path / "a", "s3://other")
    (tmp_path / "a" / MARK).write_text("[]")
    with pytest.raises(EnvironmentFailed, match=f"{MARK} cannot be read"):
        open_store(tmp_path / "a")
    assert type(open_store(tmp_path / "b")) is Store


def test_a_command_that_is_proposed_names_the_bucket_and_not_its_cache(
    machines: tuple[Store, Store], bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store_option(tmp_path / "a") == f"--store {bucket}/team"
    assert store_option(tmp_path / "a b") == f"--store '{tmp_path}/a b'"
    with pytest.raises(SystemExit):
        main(["login", "--store", str(tmp_path / "a")])
    assert f"crossmodal up --store {bucket}/team" in capsys.readouterr().err
