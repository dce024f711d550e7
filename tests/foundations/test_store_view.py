"""A store that cannot be written to is read all the same, and nothing of it is changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from tasks import store_view
from tasks.errors import EnvironmentFailed
from tasks.progress import listening_to_lines
from tasks.store import Store
from tasks.store_view import readable
from tests.support.half_written import kill_in_transaction


@pytest.fixture
def locked(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store in which this process may not write; the tests may run as root, whom modes do not stop."""
    with store.create("kind", "k") as artifact:
        (artifact.path / "a.txt").write_text("hello")
        artifact.ref = {"n": 1}
    store.put_part("deep/er", "p", pa.table({"a": [1]}))
    (store.root / "mlartifacts" / "x").mkdir(parents=True)
    (store.root / "runs" / "r").mkdir(parents=True)
    (store.root / "journal.jsonl").write_text("{}\n")
    with closing(sqlite3.connect(store.root / "mlflow.db")) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (a TEXT)")
        database.execute("INSERT INTO t VALUES ('in the registry')")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != store.root and may(path, mode))
    folders = [path for path in (store.root, *store.root.rglob("*")) if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    yield store
    for folder in folders:
        folder.chmod(0o755)


def state(root: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.suffix not in (".db-wal", ".db-shm")
    }


def test_what_lies_in_it_is_found_and_what_is_computed_goes_elsewhere(locked: Store) -> None:
    before, said = state(locked.root), []
    with listening_to_lines(lambda line, level: said.append(line)):
        view = readable(locked)
        assert readable(Store(locked.root)).root == view.root
    assert len(said) == 1
    assert f"store {locked.root}: cannot be written to" in said[0]
    assert view.view_of == locked.root
    view.prepare()
    found = view.find("kind", "k")
    assert found is not None
    assert ((found.path / "a.txt").read_text(), found.ref) == ("hello", {"n": 1})
    view.put_part("deep/er", "q", pa.table({"a": [2]}))
    assert len(view.parts("deep/er")) == 2
    with view.work_dir("w", "k") as work:
        (work / "x").touch()
    with closing(sqlite3.connect(view.root / "mlflow.db")) as database, database:
        assert database.execute("SELECT a FROM t").fetchone() == ("in the registry",)
        database.execute("DELETE FROM t")
    assert (view.root / "mlartifacts" / "x").is_dir()
    assert not (view.root / "runs").exists()
    assert state(locked.root) == before
    assert view.root.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o700 == 0o700 for path in (view.root / "kind").rglob("*") if path.is_dir())


def test_a_registry_whose_writer_was_killed_is_read_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare()
    registry = store.root / "mlflow.db"
    with closing(sqlite3.connect(registry)) as database, database:
        database.execute("CREATE TABLE t (a TEXT)")
        database.execute("INSERT INTO t VALUES ('whole')")
    kill_in_transaction(registry, "UPDATE t SET a = 'half'")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != store.root and may(path, mode))
    view = readable(store)
    with closing(sqlite3.connect(view.root / "mlflow.db")) as database:
        assert database.execute("SELECT a FROM t").fetchall() == [("whole",)]
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    assert registry.with_name("mlflow.db-journal").exists(), "nothing of it is changed"


def test_a_store_that_can_be_written_to_or_is_not_there_is_itself(store: Store, tmp_path: Path) -> None:
    assert readable(store) is store
    absent = Store(tmp_path / "absent")
    assert readable(absent) is absent


def test_damage_in_it_is_not_set_aside_there(locked: Store) -> None:
    (locked.root / "kind/k/a.txt").write_text("hellO")
    view = readable(locked)
    assert view.find("kind", "k") is None
    assert (locked.root / "kind/k/a.txt").read_text() == "hellO"


def test_one_that_cannot_be_read_either_is_told(locked: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(root: Path, folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(root))

    monkeypatch.setattr(store_view, "_link", refuse)
    with pytest.raises(EnvironmentFailed, match=r"can neither be written to nor read .*Permission denied"):
        readable(locked)
