"""What a run found stays while it is in use: marks, the lock between readers and a collector, and who is alive."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks import locks
from tasks.store import Store
from tasks.store_use import MARKED_ANEW_S, collecting, hold, mark_used, used_since

LONG_AGO = 1_000_000_000.0


def _old(store: Store, key: str = "k") -> Path:
    with store.create("checkpoints", key) as draft:
        (draft.path / "a").write_text("x")
    folder = store.path(f"checkpoints/{key}")
    os.utime(folder, (LONG_AGO, LONG_AGO))
    return folder


def test_what_is_found_is_marked_and_what_is_not_there_is_not(store: Store) -> None:
    folder = _old(store)
    assert store.find("checkpoints", "k") is not None
    assert folder.stat().st_mtime > LONG_AGO + MARKED_ANEW_S
    assert not mark_used(store.root, store.root / "checkpoints/other")


def test_a_mark_that_is_young_is_not_written_again(store: Store) -> None:
    folder = _old(store)
    assert mark_used(store.root, folder)
    young = folder.stat().st_mtime_ns
    assert mark_used(store.root, folder)
    assert folder.stat().st_mtime_ns == young


def test_nobody_finds_an_artifact_between_a_collectors_look_and_its_move(store: Store) -> None:
    folder = _old(store)
    found: list[object] = []
    reader = threading.Thread(target=lambda: found.append(store.find("checkpoints", "k")))
    with collecting(store.root):
        reader.start()
        assert folder.stat().st_mtime == LONG_AGO
        folder.rename(store.root / "gone")
    reader.join()
    assert found == [None]


def test_a_live_process_is_known_by_its_lock_and_a_dead_one_is_forgotten(store: Store) -> None:
    assert used_since(store.root) is None
    lines = ("import sys", "from pathlib import Path", "from tasks.store_use import hold", "hold(Path(sys.argv[1]))")
    code = "\n".join([*lines, "print(flush=True)", "input()"])
    command = [sys.executable, "-c", code, str(store.root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    (mark,) = (store.root / "work/users").iterdir()
    assert used_since(store.root) == mark.stat().st_mtime
    process.kill()
    process.wait()
    process.communicate()
    assert used_since(store.root) is None
    assert not mark.exists()


def test_where_locks_end_at_one_machine_a_run_is_live_for_as_long_as_it_may_take(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = store.root / "work/users" / "of-another-machine"  # whose lock is not seen here
    mark.parent.mkdir(parents=True)
    mark.touch()
    monkeypatch.setattr(locks, "uses_lease", lambda path: True)
    assert used_since(store.root) == mark.stat().st_mtime
    os.utime(mark, (LONG_AGO, LONG_AGO))
    assert used_since(store.root) is None
    assert not mark.exists()


def test_one_process_holds_a_store_once(store: Store) -> None:
    hold(store.root)
    hold(store.root)
    assert len(list((store.root / "work/users").iterdir())) == 1
    assert used_since(store.root) is not None
