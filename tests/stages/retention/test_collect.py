"""What is collected, what stays, and what a kill or a reader in between leaves."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.retention import collect
from tasks.retention.collect import (
    DAY_S,
    GRACE_S,
    empty_trash,
    horizon,
    remove_work,
    stale_work,
    sweep,
    thin_run,
    unneeded,
)
from tasks.retention.inventory import ARTIFACT_KINDS, DiskUsage, Item, freed_bytes, list_items
from tasks.retention.marks import paths_of, with_parents
from tasks.store import Store
from tasks.store_use import MARKED_ANEW_S, hold

NOW, OLD = 2_000_000_000.0, 1_000_000_000.0


def make(store: Store, kind: str, key: str, parents: tuple[str, ...] = (), used: float = OLD) -> str:
    with store.create(kind, key, parents) as draft:
        (draft.path / "a").write_text(key)
        draft.ref = {"uri": f"{kind}/{key}"}
    os.utime(store.path(f"{kind}/{key}"), (used, used))
    return f"{kind}/{key}"


def names(items: list[Item]) -> list[str]:
    return [item.uri for item in items]


@pytest.mark.parametrize(("days", "horizon_s"), [(0, GRACE_S), (30, 30 * DAY_S), (0.001, GRACE_S)])
def test_the_horizon_is_the_days_asked_for_and_never_within_the_grace(
    store: Store, days: float, horizon_s: float
) -> None:
    assert horizon(store.root, NOW, days) == NOW - horizon_s


def test_the_horizon_is_before_the_oldest_live_run(store: Store) -> None:
    hold(store.root)
    (mark,) = (store.root / "work/users").iterdir()
    os.utime(mark, (OLD, OLD))
    assert horizon(store.root, NOW, 0) == OLD - MARKED_ANEW_S


def test_only_what_is_neither_marked_nor_used_since_goes(store: Store) -> None:
    kept, gone = make(store, "clean", "kept"), make(store, "clean", "gone")
    recent = make(store, "clean", "recent", used=NOW)
    part = store.put_part("media/image/f", "k", pa.table({"a": [1]}))
    os.utime(store.path(part).parent, (OLD, OLD))
    found = unneeded(list_items(store.root), {kept}, before=NOW - 1)
    assert names(found) == [gone, "media/image/f"]
    assert [one.uri for one in sweep(store.root, found, NOW - 1)] == [gone, "media/image/f"]
    assert names(list_items(store.root)) == [kept, recent]
    assert list((store.root / "trash").iterdir()) == []


def test_what_is_used_after_the_list_was_made_stays(store: Store) -> None:
    uri = make(store, "clean", "k")
    listed = unneeded(list_items(store.root), set(), before=NOW)
    assert store.find("clean", "k") is not None
    assert sweep(store.root, listed, before=OLD + 1) == []
    assert store.path(uri).is_dir()


def test_a_kill_between_the_move_and_the_deletion_leaves_a_valid_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a", "b"):
        make(store, "clean", key)
    monkeypatch.setattr(collect, "empty_trash", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        sweep(store.root, list_items(store.root)[:1], NOW)
    assert names(list_items(store.root)) == ["clean/b"]
    assert (store.find("clean", "a"), store.damaged) == (None, [])
    assert store.find("clean", "b") is not None
    monkeypatch.undo()
    empty_trash(store.root, before=OLD)
    assert list((store.root / "trash").iterdir()) == []


def test_damaged_things_stay_in_the_trash_for_a_while(store: Store) -> None:
    uri = make(store, "clean", "k")
    (store.path(uri) / "a").write_text("changed")
    assert store.find("clean", "k") is None
    empty_trash(store.root, before=OLD)
    (damaged,) = (store.root / "trash").iterdir()
    empty_trash(store.root, before=damaged.lstat().st_ctime + 1)
    assert not damaged.exists()


def test_readers_beside_a_collector_find_an_artifact_whole_or_not_at_all(store: Store) -> None:
    """An artifact that was found is there when it is read, whoever collects meanwhile."""
    lost: list[str] = []

    def read() -> None:
        for key in map(str, range(60)):
            found = store.find("clean", key)
            if found is not None and (found.path / "a").read_text() != key:
                lost.append(key)

    for key in map(str, range(60)):
        make(store, "clean", key)
    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    removed = sweep(store.root, list_items(store.root), before=OLD + 1)
    for reader in readers:
        reader.join()
    assert lost == []
    left = names(list_items(store.root))
    assert sorted([*left, *(one.uri for one in removed)]) == sorted(f"clean/{key}" for key in range(60))
    assert store.damaged == []


def test_unfinished_work_goes_unless_it_is_held(store: Store) -> None:
    for key in ("held", "old", "new"):
        with store.work_dir("train", key) as folder:
            (folder / "state").write_text("x")
        if key != "new":
            for path in (folder / "state", folder):
                os.utime(path, (OLD, OLD))
    with store.work_dir("train", "held") as folder:
        os.utime(folder, (OLD, OLD))
        found = list(stale_work(store.root, before=OLD + 1))
        assert [path.name for path in found] == ["train-old"]
        assert [one.uri for one in remove_work(store.root, [*found, folder], OLD + 1)] == ["work/train-old"]
    assert sorted(path.name for path in (store.root / "work").iterdir() if path.is_dir()) == ["train-held", "train-new"]


def test_the_name_of_a_store_among_those_that_publish_stays(store: Store) -> None:
    with store.work_dir("publish", "tiny") as folder:
        (folder / "store-id").write_text("x")
    for path in (folder / "store-id", folder):
        os.utime(path, (OLD, OLD))
    assert list(stale_work(store.root, before=NOW)) == []


def test_every_kind_is_listed_once() -> None:
    assert len(set(ARTIFACT_KINDS)) == len(ARTIFACT_KINDS)


def test_work_from_which_a_file_goes_while_it_is_looked_at_is_under_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.work_dir("train", "live") as folder:
        (folder / "state").write_text("x")
    monkeypatch.setattr("tasks.retention.collect.os.walk", lambda path: [(str(path), [], ["state.new", "state"])])
    assert list(stale_work(store.root, before=NOW)) == []
    assert remove_work(store.root, [folder], before=NOW) == []


def test_what_another_collector_took_of_an_old_run_is_no_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.root / "runs/r"
    folder.mkdir(parents=True)
    monkeypatch.setattr(collect, "extras_of_run", lambda folder: [folder / "report.html"])
    assert thin_run(store.root, folder).bytes == 0


def test_of_an_old_run_its_records_stay(store: Store) -> None:
    folder = store.root / "runs/r"
    (folder / "docs").mkdir(parents=True)
    for name in ("run.json", "refs.json", "config.json", "summary.json", "report.html", "docs/index.html"):
        (folder / name).write_text("x" * 5000)
    assert thin_run(store.root, folder).bytes >= 10_000
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "refs.json", "run.json", "summary.json"]


def test_a_file_with_two_names_counts_once_and_frees_nothing_while_the_other_stays(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/file").write_bytes(bytes(100_000))
    (tmp_path / "two").mkdir()
    os.link(tmp_path / "one/file", tmp_path / "two/file")
    usage = DiskUsage()
    first, second = usage.of(tmp_path / "one"), usage.of(tmp_path / "two")
    assert first >= 100_000 > second
    assert freed_bytes([tmp_path / "one"]) < 100_000 <= freed_bytes([tmp_path / "one", tmp_path / "two"])


def test_refs_of_any_release_name_the_paths_they_need(store: Store) -> None:
    refs = {
        "clean": {"uri": "clean/c", "media": {"image": "f" * 64, "image_2": "f" * 64, "text": "0" * 64}, "new": [1]},
        "valid": {"uri": "validations/v", "docs": "validations/v/docs"},
        "features": {"image": {"uri": "features/image/f", "parts": ["features/image/f/k.parquet"]}},
        "prepared_champion": {"champion": {"uri": "champions/x"}, "anchor": None},
        "docs": {"features": "validations/w/docs"},
    }
    assert paths_of(refs, lambda modality, fingerprint: (f"media/{modality}/{fingerprint[:16]}",)) == {
        *("clean/c", "validations/v", "validations/w", "features/image/f", "champions/x"),
        *(f"media/image/{'f' * 16}", f"media/text/{'0' * 16}"),
    }
    assert paths_of(None, lambda *_: ()) == set()


def test_what_is_kept_keeps_what_it_was_made_from(store: Store) -> None:
    make(store, "clean", "c")
    make(store, "validations", "v", ("clean/c",))
    make(store, "verdicts", "d", ("validations/v",))
    assert with_parents(store.root, ["verdicts/d", "gone/x"]) == {"verdicts/d", "validations/v", "clean/c", "gone/x"}
