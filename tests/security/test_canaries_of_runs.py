"""Whole runs with tokens planted wherever one can be given, plain and under Prefect: afterwards they are nowhere.

In processes of their own, which note the arguments of every process that they start.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.canaries import SECRETS, SETTINGS, canary, leaked, plant_pictures, signed_store, tokens_in
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow
HTTP = ('data.allowed_schemes=["http"]', "name=planted")
_NOTES_ARGUMENTS = """
import os, sys
def note(event, args):
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system"):
        with open({path!r}, "ab") as file:
            file.write(repr(args[:2]).encode() + b"\\n")
sys.addaudithook(note)
"""
_RUNS_COMMANDS = """
import json, sys
asked = json.loads(sys.stdin.read())
if asked["crash"]:
    import tasks.ingest.manifest.scan as module
    def scan(*args, **kwargs):
        try:
            raise ConnectionError("cause: " + asked["crash"])
        except ConnectionError as cause:
            raise ValueError("cannot read " + asked["crash"]) from cause
    module.scan = scan
from flows.cli import main
for arguments in asked["commands"]:
    try:
        main(arguments)
    except SystemExit as end:
        print("status", end.code, flush=True)
"""


@dataclass(frozen=True)
class Place:
    """A folder with a store, and where its data come from."""

    folder: Path
    url: str
    profile: Path

    def run(self, *commands: list[str], crash: str = "") -> tuple[list[int], str]:
        """The status of each command, and all that they said. With `crash`, a library fails and says that."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "CROSSMODAL_"))
        }
        environment |= SECRETS | {
            "PYTHONPATH": f"{self.folder / 'site'}{os.pathsep}{ROOT}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        stored = [[*command, "--store", str(self.folder / "store")] for command in commands]
        done = subprocess.run(
            [sys.executable, "-c", _RUNS_COMMANDS], input=json.dumps({"commands": stored, "crash": crash}),
            capture_output=True, text=True, cwd=self.folder, env=environment, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        return [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("status ")], said

    def settings(self, *more: str) -> list[str]:
        return [part for value in (*SETTINGS, *more) for part in ("--set", value)]

    def leaked(self) -> dict[str, set[str]]:
        """What was left, the processes' arguments among it; but for the copy of the manifest, which is its owner's alone."""
        found = leaked(self.folder)
        copies = {name for name in found if name.startswith("store/manifests/")}
        assert all((self.folder / name).stat().st_mode & 0o077 == 0 for name in copies)
        return {name: tokens for name, tokens in found.items() if name not in copies}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("place")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(_NOTES_ARGUMENTS.format(path=str(folder / "arguments.txt")))
    with signed_store(data) as url:
        plant_pictures(data, url, 120)
        plant_pictures(data, url, 6, "broken.jsonl")  # the same pictures, and too many rows that are refused
        path = f'path = "{url}/manifest.jsonl?sig={canary("Profile")}"'
        (data / "planted.toml").write_text(f'name = "planted"\n[data]\n{path}\nallowed_schemes = ["http"]\n')
        yield Place(folder, url, data / "planted.toml")


@pytest.fixture(scope="module")
def published(place: Place) -> Place:
    """After a run from a profile that published, and every command that shows it."""
    statuses, said = place.run(
        ["retrain", "--plain", "--json", "--verbose", "--profile", str(place.profile), *place.settings()]
    )
    assert statuses == [0], said
    summary = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith('{"run"')))
    assert summary["verdict"] == "promote", summary["reason"]
    assert summary["rows"] == {"in": 124, "used": 120, "quarantined": 4, "duplicates": 0}
    assert tokens_in(said) == set()
    return place


def test_a_run_that_publishes_leaves_none(published: Place) -> None:
    assert published.leaked() == {}
    noted = (published.folder / "arguments.txt").read_text()
    assert "tasks.media.worker" in noted
    assert "tasks.publish.verify" in noted


def test_what_shows_a_run_shows_none(published: Place) -> None:
    [run] = [
        path.name for path in (published.folder / "store" / "runs").iterdir() if (path / "summary.json").is_file()
    ][:1]
    statuses, said = published.run(
        ["runs", "list", "--json"], ["runs", "show", run, "--json"], ["runs", "quarantine", run, "--json"],
        ["runs", "quarantine", run, "--row", "121"], ["runs", "diff", run, run], ["models", "history", "planted", "--json"],
        ["runs", "pack", run, "--out", str(published.folder / "pack.zip")],
        ["models", "export", "planted", str(published.folder / "exported")],
    )  # fmt: skip
    assert set(statuses) == {0}, said
    assert "none.png?sig=***" in said
    assert tokens_in(said) == set()
    assert published.leaked() == {}
    assert (published.folder / "pack.zip").is_file()


def test_prefect_keeps_none(published: Place) -> None:
    data = ["--data", f"{published.url}/manifest.jsonl?sig={canary('Parameter')}"]
    own = published.settings(*HTTP, f"train.epochs=s3://me:{canary('Setting')}@x")
    statuses, said = published.run(
        ["retrain", "--json", *data, *published.settings(*HTTP)],
        ["retrain", "--json", *data, *own],
        ["retrain", "--json", "--data", data[1].replace("manifest", "broken"), *published.settings(*HTTP)],
        ["check", "--explain", data[1], *published.settings(*HTTP)],
    )
    assert statuses == [0, 2, 3, 0], said
    assert tokens_in(said) == set()
    assert published.leaked() == {}
    assert list((published.folder / "store" / "prefect").glob("*.db"))


def test_a_crash_in_a_library_tells_none(published: Place) -> None:
    text = f"https://me:{canary('Crash')}@host/a?X-Amz-Signature={canary('CrashToken')} with {SECRETS['HF_TOKEN']}"
    arguments = [
        "--data",
        f"{published.url}/manifest.jsonl?sig={canary('Parameter')}",
        *published.settings(*HTTP),
    ]
    statuses, said = published.run(
        ["retrain", "--plain", "--json", *arguments], ["retrain", "--plain", "--debug", *arguments],
        ["retrain", "--json", *arguments], crash=text,
    )  # fmt: skip
    assert statuses == [4, 4, 4], said
    assert "cannot read https://host/a?X-Amz-Signature=*** with ***" in said
    assert tokens_in(said) == set()
    assert published.leaked() == {}
    kept = b"".join(path.read_bytes() for path in (published.folder / "store" / "prefect").glob("prefect.db*"))
    assert b"cannot read https://host/a?X-Amz-Signature=***" in kept, "Prefect has noted the crash"
