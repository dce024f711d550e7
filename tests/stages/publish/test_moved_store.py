"""A store is moved and copied as a folder is: the registry goes along, and a copy never leads into the original."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import sqlalchemy

from flows.export import export_release, verify_folder
from flows.request import default_tracking_uri, make_request
from tasks.errors import EnvironmentFailed, UsageError
from tasks.publish import registry
from tasks.publish.addresses import (
    ALLOWED_ROOTS,
    artifact_location,
    local_path,
    require_known_place,
    sqlite_file,
    sqlite_uri,
)
from tasks.publish.champion_lookup import look_up
from tasks.publish.relocation import make_relative
from tasks.store import Store
from tests.support.half_written import kill_in_transaction
from tests.support.registries import client_of

MakeCase = Callable[..., Any]
STRANGE = "a b%20?#ü%\n;'\"+&=:@"


def at(case: Any, root: Path) -> Any:
    """The same publication in another store."""
    store = Store(root)
    return replace(case, request=replace(case.request, store=store, tracking_uri=default_tracking_uri(store)))


def content(root: Path) -> dict[str, str]:
    files = (path for name in ("mlartifacts", "mlflow.db") for path in (root / name, *(root / name).rglob("*")))
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


def texts(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(connection.iterdump())


def test_a_store_is_copied_and_moved(make_case: MakeCase, quick: None, tmp_path: Path) -> None:
    first = make_case()
    first.publish()
    second = make_case(seed=1, champion=first.checkpoint, run_id="run-2")
    second.publish()
    third = make_case(seed=2, champion=second.checkpoint, run_id="run-3")
    original = first.request.store.root
    assert str(original) not in texts(original / "mlflow.db")
    assert "file:" not in texts(original / "mlflow.db")
    copied, before = tmp_path / STRANGE, content(original)
    shutil.copytree(original, copied)
    shutil.rmtree(copied / "champions")
    place = at(first, copied).place
    seen = look_up(place[1], "tiny", "champion")
    assert seen is not None
    assert seen.version == "2"
    assert registry.rollback("tiny", "champion", *place).version == "1"
    with pytest.raises(Exception, match="rolled back"):
        at(second, copied).publish()
    assert registry.promote("tiny", "2", "champion", *place).version == "2"
    assert at(third, copied).publish().version == "3"
    assert content(original) == before, "the original is as it was"
    moved = tmp_path / "moved"
    copied.rename(moved)
    shutil.rmtree(moved / "champions")
    assert registry.history("tiny", *at(first, moved).place)[-1].version == "3"
    request = make_request(third.request.config, str(moved), None, "run-4")
    release, folder = export_release(request, "tiny@champion", tmp_path / "release")
    assert (release.version, verify_folder(request, folder).golden_rows) == ("3", 3)
    assert registry.rollback("tiny", "champion", *at(first, moved).place).version == "2"
    assert content(original) == before
    assert not list(tmp_path.glob("*%*")), "nothing is made under an escaped name"
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.parametrize("name", ["plain", "a b", STRANGE, "a%3Fb", "sqlite:", "x?mode=ro", "ü#", "a\\b", "100%"])
def test_the_address_of_a_database_opens_exactly_that_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "mlflow.db"
    path.parent.mkdir()
    uri = sqlite_uri(path)
    assert sqlite_file(uri) == path
    engine = sqlalchemy.create_engine(uri)
    for address in (uri, engine.url.render_as_string(hide_password=False)):
        with sqlalchemy.create_engine(address).begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS t (x)"))
        assert [found.relative_to(tmp_path) for found in tmp_path.rglob("*.db")] == [Path(name) / "mlflow.db"]
    assert sqlite_uri(Path("/srv/store/mlflow.db")) == "sqlite:////srv/store/mlflow.db"


def test_a_path_that_no_address_can_hold_is_refused() -> None:
    with pytest.raises(UsageError, match=r"store b'/srv/\\xff/mlflow.db': its path is not UTF-8"):
        sqlite_uri(Path("/srv/\udcff/mlflow.db"))


def test_locations_hold_no_path_where_the_database_lies_in_the_store(tmp_path: Path) -> None:
    inside, elsewhere = sqlite_uri(tmp_path / "mlflow.db"), sqlite_uri(tmp_path / "other" / "mlflow.db")
    assert artifact_location("tiny", tmp_path, inside) == "crossmodal-store:/mlartifacts/tiny"
    assert artifact_location("tiny", tmp_path, elsewhere) == f"{tmp_path.as_uri()}/mlartifacts/tiny"
    assert artifact_location("tiny", tmp_path, "http://127.0.0.1:5000") is None
    assert local_path("crossmodal-store:/mlartifacts/a%20b", inside) == tmp_path / "mlartifacts/a b"
    assert local_path("file:///srv/a%3Fb", inside) == Path("/srv/a?b")
    assert local_path("file://localhost/srv/a", inside) == Path("/srv/a")
    assert local_path("s3://bucket/a", inside) is None
    for bad in (
        "crossmodal-store:/mlartifacts/../up.json",
        "crossmodal-store:/prefect",
        "crossmodal-store:/mlartifacts/%2e%2e/x",
    ):
        with pytest.raises(EnvironmentFailed, match="do not lie below the store's mlartifacts/"):
            local_path(bad, inside)
    with pytest.raises(EnvironmentFailed, match="lie beside their database"):
        local_path("crossmodal-store:/mlartifacts/tiny", "http://127.0.0.1:5000")


@pytest.mark.parametrize(
    "address",
    [
        *(
            "/etc",
            "file:///etc",
            "file:/etc",
            "FILE:///etc",
            "etc",
            "file://host/etc",
            "http://127.0.0.1/x",
            "https://x/y",
        ),
        *("s3://bucket/models", "ftp://x/y", "models:/m-1", "runs:/1/x", "dbfs:/x", "mlflow-artifacts:/1/x", ""),
        *(
            "{store}/mlartifacts/../../x",
            "{store}/mlartifacts/link/x",
            "{store}/mlartifactsx",
            "{store}",
            "file://{store}/up.json",
        ),
    ],
)
def test_models_come_from_known_places_only(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    (store / "mlartifacts").mkdir(parents=True)
    (store / "mlartifacts" / "link").symlink_to("/etc")
    address, uri = address.format(store=store), sqlite_uri(store / "mlflow.db")
    with pytest.raises(EnvironmentFailed, match=r"model tiny version 1: its files are at .*, which is neither below"):
        require_known_place(address, store, uri, "model tiny version 1")
    monkeypatch.setenv(ALLOWED_ROOTS, f"s3://bucket/models2,{tmp_path / 'others'}")
    with pytest.raises(EnvironmentFailed):
        require_known_place(address, store, uri, "model tiny version 1")


def test_further_places_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, served = sqlite_uri(tmp_path / "mlflow.db"), "http://user:word@127.0.0.1:5000"
    which = "model tiny version 1"
    require_known_place(f"{tmp_path}/mlartifacts/tiny", tmp_path, uri, which)
    require_known_place("crossmodal-store:/mlartifacts/tiny", tmp_path, uri, which)
    require_known_place("mlflow-artifacts:/1/x", tmp_path, served, which)
    require_known_place("mlflow-artifacts://127.0.0.1:5000/1/x", tmp_path, served, which)
    for address in (
        "mlflow-artifacts://evil/1/x",
        "mlflow-artifacts:/1/../x",
        "mlflow-artifacts:/1/%2e%2e/x",
        "file:///etc",
    ):
        with pytest.raises(EnvironmentFailed):
            require_known_place(address, tmp_path, served, which)
    monkeypatch.setenv(ALLOWED_ROOTS, f" s3://bucket/models/ ,{tmp_path / 'others'}")
    require_known_place("s3://bucket/models/1/x", tmp_path, served, which)
    require_known_place((tmp_path / "others" / "x").as_uri(), tmp_path, uri, which)
    for address in ("s3://bucket/models/../x", "s3://bucket/models/a?b", "s3://bucket/modelsx/1"):
        with pytest.raises(EnvironmentFailed):
            require_known_place(address, tmp_path, served, which)


@pytest.mark.parametrize("source", ["file:///etc", "s3://bucket/x", "{root}/../other/model"])
def test_a_version_that_points_elsewhere_is_refused(source: str, make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    store, uri = case.place
    with closing(sqlite3.connect(store.root / "mlflow.db")) as connection, connection:
        place = source.format(root=store.root)
        connection.execute("UPDATE model_versions SET source = ?, storage_location = ?", (place, place))
    shutil.rmtree(store.root / "champions")
    with pytest.raises(
        EnvironmentFailed, match=r"model tiny version 1: its files are at .* neither below .*mlartifacts"
    ):
        registry.fetch_champion("tiny", "champion", store, uri)


def test_a_published_file_is_no_link(make_case: MakeCase, quick: None, tmp_path: Path) -> None:
    case = make_case()
    case.publish()
    store, uri = case.place
    (weights,) = store.root.glob("mlartifacts/**/model.safetensors")
    weights.rename(tmp_path / "weights")
    weights.symlink_to(tmp_path / "weights")
    shutil.rmtree(store.root / "champions")
    with pytest.raises(EnvironmentFailed, match="is a symbolic link, which no published file is"):
        registry.fetch_champion("tiny", "champion", store, uri)


def test_an_experiment_that_keeps_its_files_elsewhere_is_refused(
    make_case: MakeCase, quick: None, tmp_path: Path
) -> None:
    case = make_case()
    client_of(case).create_experiment("tiny", artifact_location=(tmp_path / "elsewhere").as_uri())
    with pytest.raises(
        EnvironmentFailed, match=r"MLflow's experiment 'tiny': its files are at file:.*elsewhere, which is neither"
    ):
        case.publish()
    assert not (tmp_path / "elsewhere").exists()


def test_the_registry_of_before_comes_to_name_no_path(make_case: MakeCase, quick: None, tmp_path: Path) -> None:
    case = make_case()
    case.publish()
    store, uri = case.place
    relative = texts(store.root / "mlflow.db")
    old = (tmp_path / "once here").as_uri()
    with closing(sqlite3.connect(store.root / "mlflow.db")) as connection, connection:
        for table, column in (
            *(("experiments", "artifact_location"), ("runs", "artifact_uri")),
            *(("model_versions", "source"), ("model_versions", "storage_location")),
        ):
            connection.execute(f"UPDATE {table} SET {column} = replace({column}, 'crossmodal-store:', ?)", (old,))
    assert old in texts(store.root / "mlflow.db")
    shutil.rmtree(store.root / "champions")
    champion = registry.fetch_champion("tiny", "champion", store, uri)
    assert champion is not None
    assert (
        texts(store.root / "mlflow.db").replace(f"{old}/mlartifacts/0", "crossmodal-store:/mlartifacts/0") == relative
    )
    seen = (store.root / "mlflow.db").stat().st_mtime_ns
    make_relative(store.root / "mlflow.db")
    assert (store.root / "mlflow.db").stat().st_mtime_ns == seen


def test_a_registry_whose_writer_was_killed_is_read_and_written_to(make_case: MakeCase, quick: None) -> None:
    case = make_case()
    case.publish()
    store, uri = case.place
    before = texts(store.root / "mlflow.db")
    kill_in_transaction(store.root / "mlflow.db", "UPDATE experiments SET artifact_location = 'half'")
    shutil.rmtree(store.root / "champions")  # else MLflow is not asked
    champion = registry.fetch_champion("tiny", "champion", store, uri)
    assert champion is not None
    assert texts(store.root / "mlflow.db") == before
    assert not (store.root / "mlflow.db-journal").exists()


@pytest.mark.parametrize("name", ["Default", "a..b", "x" * 100])
def test_whatever_its_name_a_model_is_published_in_the_store(
    name: str, make_case: MakeCase, quick: None, tmp_path: Path
) -> None:
    case = make_case()
    config = case.request.config.model_copy(update={"name": name})
    before = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    release = replace(case, request=replace(case.request, config=config)).publish()
    assert (release.name, release.version) == (name, "1")
    assert {path for path in tmp_path.rglob("*") if "store" not in path.parts} == before
    store = case.request.store
    source = client_of(case).get_model_version(name, "1").source
    assert unquote(source).startswith("crossmodal-store:/mlartifacts/")
    assert list((store.root / "mlartifacts").glob("*/*/artifacts/model/artifacts/model.safetensors"))
