"""The store: what exists is complete; damage is set aside; two processes may do the same work."""

from __future__ import annotations

import json
import locale
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import store as store_module
from tasks.errors import EnvironmentFailed
from tasks.store import (
    Store,
    canonical_json,
    digest_file,
    digest_json,
    replace_file,
    verified_digest,
    write_text,
)
from tests.waiting import wait_until


def _put(store: Store, key: str = "k", text: str = "hello") -> Path:
    with store.create("kind", key) as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub/a.txt").write_text(text)
        draft.ref = {"n": 1}
    return store.path(f"kind/{key}")


def _tmp_entries(store: Store) -> list[str]:
    folder = store.root / "tmp"
    return [path.name for path in folder.glob("*")]


def test_what_was_created_is_found_with_its_ref(store: Store) -> None:
    folder = _put(store)
    found = store.find("kind", "k")
    assert found is not None
    assert (found.ref, found.uri, found.path) == ({"n": 1}, "kind/k", folder)
    assert found.files == {"sub/a.txt": digest_file(folder / "sub/a.txt")}
    assert store.find("kind", "other") is None


def test_an_interrupted_creation_leaves_nothing(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), store.create("kind", "k") as draft:  # noqa: PT012
        (draft.path / "a").write_text("half")
        raise KeyboardInterrupt
    assert store.find("kind", "k") is None
    assert _tmp_entries(store) == []


@pytest.mark.parametrize("damage", ["changed", "missing", "no-record", "bad-record"])
def test_a_damaged_artifact_is_set_aside_and_can_be_made_again(store: Store, damage: str) -> None:
    folder = _put(store)
    assert store.find("kind", "k") is not None
    if damage == "changed":
        (folder / "sub/a.txt").write_text("hellO")
    elif damage == "missing":
        (folder / "sub/a.txt").unlink()
    elif damage == "no-record":
        (folder / "artifact.json").unlink()
    else:
        (folder / "artifact.json").write_text("{")
    assert store.find("kind", "k") is None
    assert not folder.exists()
    assert len(list((store.root / "trash").iterdir())) == 1
    _put(store)
    assert store.find("kind", "k") is not None


def test_a_record_with_one_flipped_bit_is_damage_wherever_it_is(store: Store) -> None:
    folder = _put(store)
    whole = (folder / "artifact.json").read_bytes()
    rng = random.Random(0)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.randrange(8)
        (folder / "artifact.json").write_bytes(flipped)
        assert store.find("kind", "k") is None, bytes(flipped)
        _put(store)
    assert store.damaged == ["kind/k"] * len(whole)


def test_an_artifact_in_the_place_of_another_is_damage(store: Store) -> None:
    _put(store).rename(store.root / "kind/other")
    assert store.find("kind", "other") is None
    assert store.damaged == ["kind/other"]


def test_creating_over_a_damaged_artifact_replaces_it(store: Store) -> None:
    folder = _put(store, text="old")
    (folder / "sub/a.txt").write_text("bad")
    _put(store, text="new")
    found = store.find("kind", "k")
    assert found is not None
    assert (found.path / "sub/a.txt").read_text() == "new"


def test_creating_what_is_there_keeps_the_first(store: Store) -> None:
    folder = _put(store, text="first")
    _put(store, text="second")
    assert (folder / "sub/a.txt").read_text() == "first"


def test_two_processes_that_create_the_same_end_with_one_intact_artifact(store: Store) -> None:
    code = (
        "import sys\nfrom tasks.store import Store\nstore = Store(sys.argv[1])\n"
        "for n in range(40):\n    with store.create('kind', str(n)) as draft:\n"
        "        (draft.path / 'a').write_text(sys.argv[2])\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(store.root), name]) for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    for number in range(40):
        found = store.find("kind", str(number))
        assert found is not None
        assert (found.path / "a").read_text() in ("one", "two")
    assert _tmp_entries(store) == []


def test_parts_are_named_by_their_content_and_verified(store: Store) -> None:
    table = pa.table({"a": [1, 2]})
    first, again = store.put_part("p", "key", table), store.put_part("p", "key", table)
    second = store.put_part("p", "key", pa.table({"a": [3]}))
    assert first == again
    assert store.parts("p") == sorted([first, second])
    assert pq.read_table(store.path(first)).equals(table)
    data = bytearray(store.path(second).read_bytes())
    data[10] ^= 1
    store.path(second).write_bytes(data)
    assert store.parts("p") == [first]
    assert not store.path(second).exists()


def test_damage_after_a_digest_was_taken_is_noticed(store: Store) -> None:
    part = store.path(store.put_part("p", "key", pa.table({"a": [1]})))
    wait_until(lambda: store.parts("p") and str(part) in store_module._digests, "the digest is remembered")
    assert len(store.parts("p")) == 1
    data = bytearray(part.read_bytes())
    data[10] ^= 1
    part.write_bytes(data)
    assert store.parts("p") == []


def test_the_digest_of_a_file_that_has_just_changed_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of the file system's clock it could change again and look the same."""
    path = tmp_path / "file"
    path.write_text("x")
    changed_ns = path.stat().st_ctime_ns
    for later_ns, remembered in ((0, False), (100_000_000, False), (100_000_001, True)):
        now_ns = changed_ns + later_ns
        monkeypatch.setattr(store_module, "time", SimpleNamespace(time_ns=lambda now_ns=now_ns: now_ns))
        assert verified_digest(path) == digest_file(path)
        assert (str(path) in store_module._digests) is remembered, later_ns


def test_prepare_clears_what_dead_processes_left_and_nothing_else(store: Store) -> None:
    folder, dead = store.root / "tmp", "d" * 32
    for name in (dead, "e" * 32):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").touch()
    (folder / f"{dead}.lock").touch()
    (folder / ("f" * 32)).touch()
    os.utime(folder / ("e" * 32), (0, 0))  # without a lock: only an old one is left over
    with store.scratch_dir() as live:
        store.prepare()
        assert sorted(_tmp_entries(store)) == sorted([live.name, f"{live.name}.lock", "f" * 32])


def test_a_killed_creation_is_cleared_by_the_next_run(store: Store) -> None:
    code = (
        "import os, sys\nfrom tasks.store import Store\n"
        "with Store(sys.argv[1]).create('kind', 'k') as draft:\n"
        "    (draft.path / 'a').write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store.root)], check=False).returncode == -9
    assert len(_tmp_entries(store)) == 2  # with its lock
    store.prepare()
    assert _tmp_entries(store) == []
    assert store.find("kind", "k") is None


def test_prepare_says_where_the_store_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFailed, match=r"cannot be written to .*--store"):
        Store(tmp_path / "file").prepare()


def test_a_work_folder_is_held_by_one_process_at_a_time(store: Store) -> None:
    code = (
        "import sys\nfrom tasks import locks, progress\nfrom tasks.store import Store\n"
        "locks.SAY_AFTER_S, locks.SAY_EVERY_S = 0, 1e9\n"
        "with progress.listening_to_lines(lambda line, level: print('held by another', flush=True)):\n"
        "    with Store(sys.argv[1]).work_dir('w', 'k') as folder:\n"
        "        print((folder / 'state').read_text())\n"
    )
    with store.work_dir("w", "k") as folder:
        other = subprocess.Popen([sys.executable, "-c", code, str(store.root)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "held by another\n"
        (folder / "state").write_text("written before the lock was released")
    assert other.communicate()[0].strip() == "written before the lock was released"
    assert other.returncode == 0


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_canonical_json_is_sorted_and_refuses_nan() -> None:
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_what_is_refreshed_is_absent_here_until_it_is_computed_anew(store: Store) -> None:
    folder = _put(store)
    before = folder.stat().st_ino
    refreshed = Store(store.root)
    refreshed.refresh("kind")
    assert refreshed.find("kind", "k") is None
    assert store.find("kind", "k") is not None, "others still find it"
    _put(refreshed, text="took longer")
    assert refreshed.recomputed == {"kind/k": True}, "the same ref"
    assert folder.stat().st_ino == before, "and nothing was replaced"
    assert refreshed.find("kind", "k") is not None


def test_a_refreshed_artifact_that_differs_takes_the_place_of_the_old_one(store: Store) -> None:
    _put(store)
    refreshed = Store(store.root)
    refreshed.refresh("kind")
    with refreshed.create("kind", "k") as draft:
        draft.ref = {"n": 2}
    assert refreshed.recomputed == {"kind/k": False}
    found = Store(store.root).find("kind", "k")
    assert found is not None
    assert found.ref == {"n": 2}
    with pytest.raises(RuntimeError), refreshed.create("kind", "other") as draft:
        raise RuntimeError
    assert Store(store.root).find("kind", "k") is not None, "a failure leaves what was there"


def test_refreshed_parts_are_hidden_until_they_are_written_again(store: Store) -> None:
    old = store.put_part("parts/a", "x", pa.table({"n": [1]}))
    other = store.put_part("parts/a", "y", pa.table({"n": [2]}))
    refreshed = Store(store.root)
    refreshed.refresh("parts")
    assert refreshed.parts("parts/a") == []
    assert refreshed.hidden_parts("parts/a") == sorted([old, other])
    assert refreshed.put_part("parts/a", "x", pa.table({"n": [1]})) == old
    assert refreshed.parts("parts/a") == [old]
    refreshed.discard_parts([other])
    assert store.parts("parts/a") == [old]


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "int32"])
def test_lists_of_small_numbers_are_written_byte_by_byte(store, kind):
    values = [list(range(100)), [], [3]]
    columns = {"digest": ["a", "b", "c"], "shape": pa.array([[100], [0], [1]], pa.list_(pa.int32()))}
    table = pa.table(columns | {"values": pa.array(values, pa.list_(pa.type_for_alias(kind)))})
    path = store.path(store.put_part("features", "k", table))
    assert pq.read_table(path).equals(table)
    row_group = pq.ParquetFile(path).metadata.row_group(0)
    encodings = {row_group.column(n).path_in_schema: row_group.column(n).encodings for n in range(3)}
    assert ("BYTE_STREAM_SPLIT" in encodings["values.list.element"]) is (kind in ("uint8", "int16"))
    assert "RLE_DICTIONARY" in encodings["digest"]


def test_folders_are_made_as_they_are_needed(tmp_path: Path) -> None:
    Store(tmp_path / "a/store").prepare()
    assert (tmp_path / "a/store").is_dir()
    with Store(tmp_path / "b/store").create("deep/kind", "k") as draft:
        assert draft.path.parent == tmp_path / "b/store/tmp"
    part = Store(tmp_path / "c/store").put_part("deep/kind", "k", pa.table({"a": [1]}))
    assert Store(tmp_path / "c/store").parts("deep/kind") == [part]


def test_an_artifact_says_what_it_is(store: Store) -> None:
    folder = _put(store)
    record = json.loads((folder / "artifact.json").read_text())
    assert record.pop("sha256") == digest_json(record)
    assert record == {
        "format": 2,
        "kind": "kind",
        "key": "k",
        "files": {"sub/a.txt": digest_file(folder / "sub/a.txt")},
        "ref": {"n": 1},
    }


def test_text_is_utf_8_whatever_the_locale(store: Store, tmp_path: Path) -> None:
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        with store.create("kind", "k") as draft:
            draft.ref = {"name": "größe"}
        found = store.find("kind", "k")
        write_text(tmp_path / "text", "größe")
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    assert found is not None
    assert found.ref == {"name": "größe"}
    assert (tmp_path / "text").read_bytes() == "größe".encode()


def test_the_digest_of_a_value_is_that_of_its_canonical_json() -> None:
    assert digest_json({"b": [1], "a": 2}) == "bdb8cdb92ae21dcbfef3be933411f3644bc1a6668cd15181c0038b2eaa118caf"


def test_what_is_refreshed_adds_up(store: Store) -> None:
    old = [store.put_part(kind, "x", pa.table({"n": [1]})) for kind in ("one", "two")]
    refreshed = Store(store.root)
    refreshed.refresh("one")
    refreshed.refresh("two")
    assert [refreshed.parts(kind) for kind in ("one", "two")] == [[], []]
    assert [refreshed.hidden_parts(kind) for kind in ("one", "two")] == [[each] for each in old]
    assert refreshed.is_refreshed("one/inside")
    assert not refreshed.is_refreshed("ones")


def test_what_is_new_under_refresh_came_out_as_it_was(store: Store) -> None:
    store.refresh("kind")
    _put(store, "new")
    assert store.recomputed == {"kind/new": True}


def test_a_parts_key_may_have_hyphens(store: Store) -> None:
    part = store.put_part("p", "a-b-c", pa.table({"a": [1]}))
    assert store.parts("p") == [part]


def test_a_part_that_vanishes_hides_no_other(store: Store) -> None:
    part = store.put_part("p", "key", pa.table({"a": [1]}))
    (store.root / "p" / "a.parquet").symlink_to(store.root / "not there")  # listed, but cannot be opened
    assert store.parts("p") == [part]
    store.discard_parts(["p/gone.parquet", part])
    assert store.parts("p") == []


def test_damage_is_set_aside_as_often_as_it_is_found(store: Store) -> None:
    for _ in range(2):
        (_put(store) / "artifact.json").unlink()
        assert store.find("kind", "k") is None
    assert len(list((store.root / "trash").iterdir())) == 2


def test_the_digest_of_an_unchanged_file_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, taken = tmp_path / "file", []
    path.write_text("x")
    later_ns = path.stat().st_ctime_ns + 1_000_000_000
    monkeypatch.setattr(store_module, "time", SimpleNamespace(time_ns=lambda: later_ns))
    monkeypatch.setattr(store_module, "digest_file", lambda path: taken.append(path) or digest_file(path))
    assert [verified_digest(path) for _ in range(3)] == [digest_file(path)] * 3
    assert taken == [path]


def test_numbers_that_repeat_stay_in_a_dictionary_beside_those_written_byte_by_byte(store: Store) -> None:
    shapes = pa.array([[2]] * 100, pa.list_(pa.int32()))
    table = pa.table({"shape": shapes, "values": pa.array([[1, 2]] * 100, pa.list_(pa.uint8()))})
    row_group = pq.ParquetFile(store.path(store.put_part("features", "k", table))).metadata.row_group(0)
    assert row_group.column(0).path_in_schema == "shape.list.element"
    assert "RLE_DICTIONARY" in row_group.column(0).encodings
