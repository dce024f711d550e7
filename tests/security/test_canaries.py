"""Tokens planted in every place where a credential can be given are nowhere afterwards: not after success, not after failure.

Searched are every file that a run leaves (tables and databases decoded, too), what it says, and the arguments of every
process that it starts.
"""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main
from flows.profiles import _create
from tasks import redaction
from tasks.config import load_config
from tasks.ingest.sources.resolve import locate_data
from tasks.store import Store
from tests.support.canaries import SECRETS, canary, leaked, plant_pictures, signed_store, tokens_in

CELLS = {"Cell", "Column", "Missing", "User", "Scheme", "Path"}
HTTP = 'data.allowed_schemes=["http"]'


def test_the_search_finds_what_was_not_cut_out(tmp_path: Path) -> None:
    token = canary("Planted")
    (tmp_path / "log.txt").write_text(f"https://me:{token}@host")
    (tmp_path / "page.html").write_bytes(f"sig={token}&amp;".encode())
    pq.write_table(pa.table({"path": [f"a {token}"], "meta": [{"a": [token]}]}), tmp_path / "t.parquet")
    pq.write_table(pa.table({"data": pa.array([b"x" + token.encode()], pa.large_binary())}), tmp_path / "b.parquet")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("create table tags (value text)")
        database.execute("insert into tags values (?)", (token,))
    with zipfile.ZipFile(tmp_path / "pack.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run.json", json.dumps({"data": token}) * 50)
    (tmp_path / f"m.csv?sig={token}").write_text("a")
    (tmp_path / "clean.txt").write_text("Canary, token, secret: ***")
    assert token.encode() not in (tmp_path / "pack.zip").read_bytes(), "only unpacking shows it"
    names = {"log.txt", "page.html", "t.parquet", "b.parquet", "mlflow.db", "pack.zip", f"m.csv?sig={token}"}
    assert leaked(tmp_path) == {name: {"Planted"} for name in names}


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A manifest of signed addresses, and the server that wants the signature."""
    with signed_store(tmp_path / "data") as url:
        yield plant_pictures(tmp_path / "data", url, 6), url


def test_signed_media_are_decoded_and_their_signatures_are_not_kept(
    pictures: tuple[Path, str], run_ingest: Any, store: Store
) -> None:
    manifest, url = pictures
    done = run_ingest(manifest, HTTP)
    assert len({row["image"] for row in done.samples.values()}) == 6, "addresses that differ stay different pictures"
    assert done.reasons == {
        "bad0": "missing-file", "bad1": "bad-path", "bad2": "scheme-not-allowed", "bad3": "path-outside",
    }  # fmt: skip
    paths = [str(row["path"]) for row in done.refused]
    assert paths == [f"{url}/none.png?sig=***", f"{url}/0.png", "ftp://host/0.png", "../0.png?token=***"]
    assert leaked(store.root) == {}
    manifest.write_text(manifest.read_text().replace(canary("Cell"), canary("CellRenewed")))
    renewed = run_ingest(manifest, HTTP)
    assert (renewed.raw.uri, renewed.clean.uri) == (done.raw.uri, done.clean.uri)


def test_ids_that_look_like_passwords_still_join_rows(pictures: tuple[Path, str], run_ingest: Any) -> None:
    manifest, _ = pictures
    names = ("password=hunter2", "password=hunter3", "token: drawn4you")
    signed = f"https://me:{canary('User')}@host/1"
    with manifest.open("a") as file:
        for name in (*names, signed):
            file.write(json.dumps({"id": name, "image": "gone.png", "label": "r"}) + "\n")
    refused = [row["id"] for row in run_ingest(manifest, HTTP, "data.max_quarantined=1").refused]
    assert refused[-4:] == [*names, "https://host/1"]


def test_a_remote_manifest_is_kept_for_its_owner_alone(pictures: tuple[Path, str], store: Store) -> None:
    manifest, url = pictures

    def fetch(token: str) -> Path:
        return locate_data(load_config({}, [f"data.path={url}/manifest.jsonl?sig={canary(token)}", HTTP]), store)

    copy = fetch("Manifest")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert fetch("ManifestRenewed") == copy
    assert leaked(store.root) == {
        copy.relative_to(store.root).as_posix(): {"Cell", "Column", "Missing", "User", "Scheme", "Path"}
    }
    manifest.write_text(manifest.read_text() + "\n")
    assert fetch("Manifest") != copy, "the same address with another content"


@pytest.mark.parametrize("query", ["", f"?sig={canary('Profile')}"])
def test_a_profile_that_holds_a_signature_is_its_owners_alone(query: str, tmp_path: Path) -> None:
    _create("p", tmp_path / "p.toml", f'path = "https://host/m.csv{query}"')
    assert bool(stat.S_IMODE((tmp_path / "p.toml").stat().st_mode) & 0o044) == (query == "")


@pytest.fixture
def say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """say("retrain", ...) -> status and all that was said, with secrets in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--store", str(tmp_path / "store")])
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, out + err

    return call


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


SIGNED = f"https://me:{canary('Data')}@127.0.0.1:9/m.csv?token={canary('Token')}"
FAILURES = [
    (["retrain", "--plain", "--json", "--data", SIGNED], 2, "its scheme is not allowed"),
    (["check", SIGNED, "--json"], 2, "its scheme is not allowed"),
    (["plan", "--data", SIGNED], 2, "its scheme is not allowed"),
    (["retrain", "--plain", "--set", f"train.epochs={SIGNED}"], 2, "train.epochs"),
    (["retrain", "--plain", "--set", f"train.nothing={SIGNED}"], 2, "nothing"),
    (["retrain", "--plain", "--profile", SIGNED], 2, "profile"),
    (["check", f"/nowhere/m.csv?sig={canary('Local')}"], 2, "no such file"),
    (["up", "--postgres", f"postgresql://me:{canary('Postgres')}@127.0.0.1:1/x"], 4, "postgresql://127.0.0.1:1/x"),
    (["watch", "digits", "--source", SIGNED], 2, "Prefect would show"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), FAILURES, ids=lambda value: str(value)[:30])
def test_no_failure_tells(
    arguments: list[str], status: int, message: str, say: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, said = say(*arguments)
    assert code == status, said
    assert message in said
    assert tokens_in(said) == set()
    assert leaked(tmp_path) == {}


def test_without_the_redactor_the_same_command_tells(
    say: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_USER", "_PARAMETER", "_ASSIGNED"):
        monkeypatch.setattr(redaction, name, re.compile("(?!)"))
    _, said = say(*FAILURES[0][0])
    assert {"Data", "Token"} <= tokens_in(said)


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_a_registry_that_does_not_answer_is_named_without_its_user(
    scheme: str, say: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:{canary('Registry')}@127.0.0.1:{closed_port()}/x")
    code, said = say("retrain", "--plain")
    assert code == 4, said
    assert f"{scheme}://127.0.0.1:" in said
    assert tokens_in(said) | set(leaked(tmp_path)) == set()
