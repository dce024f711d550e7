"""A copy of a store in use is whole, and a store made from it is the same; what is damaged or in the way is refused."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.hosting.backup import BackupRecord, back_up, restore
from tasks.errors import EnvironmentFailed, UsageError
from tasks.store import Store

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
TABLES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def make_registry(store: Store) -> None:
    """A database with the columns of MLflow's in which a path of the store stands, once as an address, once as a path."""
    with closing(sqlite3.connect(store.root / "mlflow.db")) as database, database:
        for table, columns in TABLES.items():
            database.execute(f"CREATE TABLE {table} ({', '.join(f'{name} VARCHAR(200)' for name in columns)})")
            for value in (f"{store.root.as_uri()}/mlartifacts/a", f"{store.root}/mlartifacts/a", "models:/m-1", None):
                database.execute(
                    f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", [value] * len(columns)
                )


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    """A store in a folder whose name needs quoting, with an artifact and what a backup leaves out."""
    store = Store(tmp_path / "a store")
    store.prepare()
    with store.create("clean", "k1") as draft:
        (draft.path / "rows.txt").write_text("rows")
    for name in ("tmp/d/x", "trash/x", "work/train-1/x", "prefect/storage/x", "prefect/profiles.toml", "up.json"):
        (store.root / name).parent.mkdir(parents=True, exist_ok=True)
        (store.root / name).write_text("secret or half written")
    make_registry(store)
    return store


def test_a_restored_store_is_the_store_without_drafts_caches_and_credentials(filled: Store, tmp_path: Path) -> None:
    record = back_up(filled, tmp_path / "copy", NOW)
    assert set(record.files) == {"clean/k1/rows.txt", "clean/k1/artifact.json", "mlflow.db"}
    assert record.databases == ("mlflow.db",)
    assert not any(b"secret" in data for data in contents(tmp_path / "copy").values())
    assert (tmp_path / "copy").stat().st_mode & 0o077 == 0
    shutil.rmtree(filled.root)
    restored = Store(tmp_path / "new" / "place")
    restore(tmp_path / "copy", restored)
    assert set(contents(restored.root)) == set(record.files)
    found = restored.find("clean", "k1")
    assert found is not None
    assert (found.path / "rows.txt").read_text() == "rows"


def test_the_registrys_paths_lead_to_the_new_place(filled: Store, tmp_path: Path) -> None:
    back_up(filled, tmp_path / "copy", NOW)
    new = Store(tmp_path / "new place")
    restore(tmp_path / "copy", new)
    expected = [f"{new.root.as_uri()}/mlartifacts/a", f"{new.root}/mlartifacts/a", "models:/m-1", None]
    with closing(sqlite3.connect(new.root / "mlflow.db")) as database:
        for table, columns in TABLES.items():
            for column in columns:
                assert [row[0] for row in database.execute(f"SELECT {column} FROM {table}")] == expected


def test_whatever_a_copied_database_names_lies_in_the_copy(tmp_path: Path) -> None:
    """A writer puts a file in place, then its row, as fast as it can; copies are taken meanwhile, on a write-ahead log."""
    store = Store(tmp_path / "store")
    store.prepare()
    (store.root / "prefect").mkdir()
    with closing(sqlite3.connect(store.root / "prefect" / "prefect.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE named (key)")
    stop = threading.Event()
    written = threading.Semaphore(0)

    def write() -> None:
        with closing(sqlite3.connect(store.root / "prefect" / "prefect.db")) as database:
            number = 0
            while not stop.is_set():
                with store.create("clean", f"k{number}") as draft:
                    (draft.path / "x").write_text("x")
                with database:
                    database.execute("INSERT INTO named VALUES (?)", [f"k{number}"])
                number += 1
                written.release()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for copy in range(4):
            for _ in range(5):
                assert written.acquire()
            back_up(store, tmp_path / f"copy{copy}", NOW)
    finally:
        stop.set()
        writer.join()
    for copy in range(4):
        back = Store(tmp_path / f"back{copy}")
        restore(tmp_path / f"copy{copy}", back)
        with closing(sqlite3.connect(back.root / "prefect" / "prefect.db")) as database:
            named = [row[0] for row in database.execute("SELECT key FROM named")]
        assert len(named) >= 5
        assert all(back.find("clean", key) is not None for key in named)
        assert not list((back.root / "prefect").glob("*-wal"))


def test_a_damaged_or_incomplete_backup_is_refused_by_name(filled: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    record = back_up(filled, copy, NOW)
    new = Store(tmp_path / "new")
    file = copy / "store/clean/k1/rows.txt"
    file.write_text("r0ws")
    with pytest.raises(EnvironmentFailed, match=r"clean/k1/rows\.txt is damaged"):
        restore(copy, new)
    file.unlink()
    with pytest.raises(EnvironmentFailed, match="absent"):
        restore(copy, new)
    assert contents(new.root) == {}
    outside = record.model_copy(update={"files": {"../outside": "0"}})
    (copy / "backup.json").write_text(outside.model_dump_json())
    with pytest.raises(UsageError, match="outside the store"):
        restore(copy, new)
    (copy / "backup.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        restore(copy, new)
    (copy / "backup.json").unlink()
    with pytest.raises(UsageError, match="has none"):
        restore(copy, new)


def test_nothing_is_overwritten_and_an_error_leaves_nothing(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside the store"):
        back_up(filled, filled.root / "copy", NOW)
    back_up(filled, tmp_path / "copy", NOW)
    with pytest.raises(UsageError, match="new folder"):
        back_up(filled, tmp_path / "copy", NOW)
    with pytest.raises(UsageError, match="not empty"):
        restore(tmp_path / "copy", filled)
    (filled.root / "mlflow.db").write_bytes(b"SQLite format 3\0" + b"x" * 4096)
    with pytest.raises(EnvironmentFailed, match=r"mlflow\.db: cannot be copied"):
        back_up(filled, tmp_path / "broken", NOW)
    assert [path.name for path in tmp_path.iterdir() if "broken" in path.name] == []
    with pytest.raises(UsageError, match="not a folder"):
        back_up(Store(tmp_path / "no store"), tmp_path / "other", NOW)


def test_the_commands_say_what_was_copied_and_what_lies_elsewhere(filled: Store, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"CROSSMODAL_STORE"}}
    environment["MLFLOW_TRACKING_URI"] = "postgresql://me:hidden@db.example/mlflow"
    (filled.root / "mlflow.db").unlink()

    def call(*arguments: str | Path) -> str:
        command = [sys.executable, "-m", "flows", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    output = call("backup", "--store", filled.root, "--out", tmp_path / "copy")
    assert "copied   2 files" in output
    assert "the model registry postgresql://db.example/mlflow" in output
    assert "hidden" not in output
    restored = json.loads(call("restore", tmp_path / "copy", "--store", tmp_path / "new", "--json"))
    assert restored["files"] == 2
    record = BackupRecord.model_validate_json((tmp_path / "copy/backup.json").read_text())
    assert set(contents(tmp_path / "new")) == set(record.files)
