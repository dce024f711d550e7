from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy.exc import OperationalError

import crossmodal as product
from flows.cli import main
from tasks.errors import EnvironmentFailed, PromotionRefused, UsageError
from tasks.publish import registry
from tasks.publish.addresses import is_database
from tasks.publish.alias_history import Move, champions_before, move_alias, read_moves
from tasks.publish.connection import connected, without_password
from tasks.publish.lease import publishing
from tasks.publish.model_names import check_alias, check_model_name
from tasks.publish.versions import all_versions
from tasks.store import Store

MakeCase = Callable[..., Any]


def test_without_a_database_nothing_is_made_or_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, uri = Store(tmp_path), f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setitem(sys.modules, "mlflow", None)  # an import would raise
    assert registry.fetch_champion("tiny", "champion", store, uri) is None
    assert registry.list_models(store, uri) == []
    with pytest.raises(UsageError, match="no registry yet"):
        registry.show_model("tiny", store, uri)
    assert list(tmp_path.iterdir()) == []


def test_rollback_goes_back_step_by_step(make_case: MakeCase, quick: None) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint, run_id="run-2")
    third = make_case(seed=2, champion=second.checkpoint, run_id="run-3")
    for case in (first, second, third):
        case.publish()
    place = first.place
    assert registry.rollback("tiny", "champion", *place).version == "2"
    assert registry.rollback("tiny", "champion", *place).version == "1"
    with pytest.raises(PromotionRefused, match="version 1 has no earlier champion"):
        registry.rollback("tiny", "champion", *place)
    champion = registry.fetch_champion("tiny", "champion", *place)
    assert champion is not None
    assert champion.model_sha256 == first.checkpoint.model_sha256
    with pytest.raises(PromotionRefused, match="was rolled back"):
        second.publish()
    assert registry.promote("tiny", "2", "champion", *place).alias == "champion"
    moves = [(move.action, move.version, move.previous) for move in registry.history("tiny", *place)]
    assert moves == [
        ("publish", "1", None), ("publish", "2", "1"), ("publish", "3", "2"),
        ("rollback", "2", "3"), ("rollback", "1", "2"), ("promote", "2", "1"),
    ]  # fmt: skip
    assert registry.list_models(*place) == [
        {"name": "tiny", "versions": 3, "champion": "2", "aliases": {"champion": "2"}}
    ]
    shown = registry.show_model("tiny", *place)
    assert [(entry["version"], entry["aliases"], entry["rolled_back"]) for entry in shown] == [
        ("1", [], False), ("2", ["champion"], False), ("3", [], True),
    ]  # fmt: skip
    assert shown[0]["metrics"]["accuracy"] == 0.9


def test_ten_is_after_nine(migrated: Path, tmp_path: Path) -> None:
    """Versions and moves are numbers, also from the tenth on."""
    uri = f"sqlite:///{shutil.copyfile(migrated, tmp_path / 'mlflow.db')}"
    client = MlflowClient(uri, uri)
    client.create_registered_model("tiny")
    names = [str(number) for number in range(1, 12)]
    with publishing(client, "tiny", Store(tmp_path)) as lease:
        for name, before in zip(names, [None, *names], strict=False):
            client.create_model_version("tiny", source=f"{tmp_path}/{name}")
            move_alias(client, "tiny", "champion", Move(action="publish", version=name, previous=before), lease)
    assert [version.version for version in all_versions(client, "tiny")] == [int(name) for name in names]
    tags = client.get_registered_model("tiny").tags
    assert [move.version for move in read_moves(tags, "champion", "11")] == names
    assert [move.previous for move in read_moves(tags, "champion", "11")] == [None, *names[:-1]]


def test_a_version_that_is_gone_is_passed_over(make_case: MakeCase, quick: None) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint)
    third = make_case(seed=2, champion=second.checkpoint)
    for case in (first, second, third):
        case.publish()
    MlflowClient(first.request.tracking_uri, first.request.tracking_uri).delete_model_version("tiny", "2")
    assert registry.rollback("tiny", "champion", *first.place).version == "1"


def test_a_version_from_elsewhere_is_refused(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    client = MlflowClient(case.request.tracking_uri, case.request.tracking_uri)
    client.create_model_version("tiny", source=f"{case.request.store.root}/mlartifacts/elsewhere")
    with pytest.raises(PromotionRefused, match="the gate has not passed it"):
        registry.promote("tiny", "2", "champion", *case.place)
    with pytest.raises(UsageError, match="has no version '7'; it has 1, 2"):
        registry.promote("tiny", "7", "champion", *case.place)
    client.set_registered_model_alias("tiny", "champion", "2")
    with pytest.raises(EnvironmentFailed, match="version 2: was not published by crossmodal"):
        registry.fetch_champion("tiny", "champion", *case.place)
    assert registry.rollback("tiny", "champion", *case.place).version == "1"


def test_unknown_models_and_aliases(make_case: MakeCase) -> None:
    place = make_case().place
    with pytest.raises(UsageError, match="'nobody': not in the registry"):
        registry.show_model("nobody", *place)
    assert registry.fetch_champion("nobody", "champion", *place) is None


def test_a_broken_database_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all")
    with pytest.raises(EnvironmentFailed, match="is not a sqlite database"):
        registry.fetch_champion("tiny", "champion", Store(tmp_path), f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.parametrize(
    "name", ["", "a/b", "../up", ".hidden", "-flag", "a b", "ü", "a" * 101, "a'b", "x\n", "a.lock", "a.lease", None]
)
def test_bad_names(name: str | None) -> None:
    with pytest.raises(UsageError, match="model name"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["digits", "a", "7", "my-model_v1.2", "a" * 100])
def test_good_names(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("alias", ["", "latest", "v1", "V22", "1st", "a.b", "a/b", "@x"])
def test_bad_aliases(alias: str) -> None:
    with pytest.raises(UsageError, match="alias"):
        check_alias(alias)


def tags(*moves: tuple[str, str, str | None]) -> dict[str, str]:
    return {
        f"crossmodal.move.champion.{number:06d}": Move(
            action=action, version=version, previous=previous
        ).model_dump_json()  # type: ignore[arg-type]
        for number, (action, version, previous) in enumerate(moves, start=1)
    }


def test_a_move_that_never_happened_is_left_out() -> None:
    written = tags(("publish", "1", None), ("publish", "2", "1"))
    assert [move.version for move in read_moves(written, "champion", "1")] == ["1"]
    later = tags(("publish", "1", None), ("publish", "2", "1"), ("publish", "3", "1"))
    assert [move.version for move in read_moves(later, "champion", "3")] == ["1", "3"]


def test_a_move_made_past_us_counts() -> None:
    written = tags(("publish", "1", None), ("publish", "2", "1"))
    moves = read_moves(written, "champion", "9")
    assert [move.version for move in moves] == ["1", "2", "9"]
    assert champions_before(moves) == ["2", "1"]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([], []),
        ([("publish", "1", None)], []),
        ([("publish", "1", None), ("publish", "2", "1")], ["1"]),
        ([("publish", "1", None), ("publish", "2", "1"), ("rollback", "1", "2")], []),
        ([("publish", "1", None), ("publish", "2", "1"), ("rollback", "1", "2"), ("publish", "3", "1")], ["1"]),
        ([("publish", "1", None), ("publish", "2", "1"), ("promote", "1", "2")], ["2", "1"]),
    ],
)
def test_champions_before(moves: list[tuple[str, str, str | None]], expected: list[str]) -> None:
    built = [Move(action=action, version=version, previous=previous) for action, version, previous in moves]  # type: ignore[arg-type]
    assert champions_before(built) == expected


def test_passwords_are_not_shown() -> None:
    assert without_password("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert without_password("sqlite:////a/b.db") == "sqlite:////a/b.db"


@pytest.mark.parametrize(
    ("address", "database"),
    [
        ("sqlite:////srv/mlflow.db", True),
        ("postgresql+psycopg2://me:word@host/db", True),
        ("http://host:5000", False),
        ("databricks", False),
    ],
)
def test_only_a_database_needs_a_place_for_files(address: str, database: bool) -> None:
    assert is_database(address) is database


def test_a_champion_names_the_best_so_far_and_a_version_is_found_by_its_number(
    make_case: MakeCase, quick: None
) -> None:
    first = make_case(seed=0)
    second = make_case(seed=1, champion=first.checkpoint, run_id="run-2")
    for case in (first, second):
        case.publish()
    champion = registry.fetch_champion("tiny", "champion", *first.place)
    assert champion is not None
    assert (champion.version, champion.anchor) == ("2", "1"), "as good as the first, and not shown to be better"
    best = registry.fetch_version("tiny", "1", *first.place)
    assert best is not None
    assert (best.version, best.model_sha256, best.anchor) == ("1", first.checkpoint.model_sha256, None)
    assert registry.fetch_version("tiny", "9", *first.place) is None


def test_a_full_disk_is_told_with_the_database_and_what_is_free(migrated: Path, tmp_path: Path) -> None:
    path = shutil.copyfile(migrated, tmp_path / "mlflow.db")
    full = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    told = rf"model registry {path}: No space left on device \([\d,.]+ MB free in {tmp_path}\); free space"
    with pytest.raises(EnvironmentFailed, match=told), connected(Store(tmp_path), f"sqlite:///{path}"):
        raise full


def test_it_is_read_where_the_store_cannot_be_written_to(
    make_case: MakeCase, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = make_case()
    case.publish()
    root, may = case.request.store.root, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != root and may(path, mode))  # root may write anywhere
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_dir()}
    for command in (["list"], ["show", "tiny"], ["history", "tiny"], ["pending"]):
        with pytest.raises(SystemExit) as stop:
            main(["models", *command, "--store", str(root), "--json"])
        out, err = capsys.readouterr()
        assert (stop.value.code, bool(json.loads(out.splitlines()[-1]))) == (0, command != ["pending"]), err
    assert product.load("tiny", store=root).version == "1"
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_dir()} == before
