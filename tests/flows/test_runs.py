"""What runs leave, and what the command line makes of it: list, show, diff, run-stage, refresh, quarantine, pack, history.

One store with three runs serves the whole file: one that is published, one of other settings, one that is refused for its data.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import crossmodal as product
from flows.cli import main
from flows.history import find_run, list_runs, run_refs, write_history_page
from flows.records import recorded
from flows.request import make_request, resolve_config
from flows.run_state import RunState
from tasks.errors import DataError, UsageError
from tasks.locks import held
from tasks.store import Store
from tests.support.data import SMALL, write_learnable


@dataclass(frozen=True)
class Place:
    """The store with its runs, oldest first."""

    store: Path
    good: str
    other: str
    bad: str
    manifest: Path


# Refused whatever they score: what is published takes a registry and a process that verifies, which have tests of their own.
SETTINGS = [*SMALL, "train.epochs=2", 'gate.rules=[{"metric": "accuracy", "min": 2}]']


def settings() -> dict[str, Any]:
    named = dict(text.split("=", 1) for text in SETTINGS)
    return {key: value if key.startswith("encoders.") else json.loads(value) for key, value in named.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("runs")
    manifest, store = write_learnable(root / "data", 60), root / "store"

    async def in_a_loop() -> product.Retrained:  # as a notebook calls it
        return product.retrain(data=manifest, settings=settings() | {"name": "it"}, store=store)

    good = asyncio.run(in_a_loop())
    assert good.report.is_file()
    other = product.retrain(data=manifest, settings=settings() | {"name": "it", "encoders.audio": "off"}, store=store)
    bad = root / "data" / "bad.csv"
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    (root / "data/img/broken.png").write_bytes(b"\x89PNG and no picture")
    (root / "data/img/empty.png").write_bytes(b"")
    for row in rows[:8]:
        row["image"] = "img/broken.png"
    rows[8]["image"], rows[9]["image"] = "img/empty.png", "img/nowhere.png"
    with bad.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DataError, match="10 of 60 rows quarantined"):
        product.retrain(data=bad, settings=settings() | {"name": "it"}, store=store, progress=False)
    (failed,) = list_runs(store, verdict="failed")
    return Place(store, good.run, other.run, failed.run, manifest)


@pytest.fixture
def call(place: Place, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """call("runs", "list") is what the command prints as JSON."""

    def run(*arguments: str, status: int = 0) -> Any:
        with pytest.raises(SystemExit) as stop:
            main([*arguments, "--store", str(place.store), "--json"])
        out, err = capsys.readouterr()
        assert stop.value.code == status, err
        return json.loads(out.splitlines()[-1])

    return run


def test_all_runs_are_listed_and_chosen_from(call: Callable[..., Any], place: Place) -> None:
    runs = call("runs", "list")
    assert [run["run"] for run in runs] == [place.bad, place.other, place.good]
    assert [run["status"] for run in runs] == ["failed", "completed", "completed"]
    assert call("runs", "list", "--verdict", "failed")[0]["reason"].startswith("10 of 60 rows quarantined")
    assert [run["run"] for run in call("runs", "list", "--limit", "1")] == [place.bad]
    assert call("runs", "list", "--model", "another") == []


def test_show_knows_data_code_and_figures(call: Callable[..., Any], place: Place) -> None:
    run = call("runs", "show", place.good)
    assert (run["model"], run["flow"], run["data"]) == ("it", "retrain", str(place.manifest))
    assert run["labels"] == ["high", "low"]
    assert len(run["data_sha256"]) == 64
    assert set(run["intervals"]) <= set(run["metrics"])
    assert (place.store / run["report"]).is_file()
    assert run["started"] < run["finished"]
    assert call("runs", "show", "nothing", status=2)["error"].startswith("run 'nothing': no such run")


def test_a_run_is_named_by_the_beginning_or_the_end_of_its_id(place: Place) -> None:
    assert find_run(place.store, place.good[-8:]).run == place.good
    with pytest.raises(UsageError, match="several runs"):
        find_run(place.store, place.good[:3])


def test_diff_pairs_figures_on_the_same_rows(call: Callable[..., Any], place: Place) -> None:
    found = call("runs", "diff", place.good, place.other)
    assert found["config"] == {"encoders.audio": ["tiny", "off"]}
    assert found["paired"].startswith("b minus a on the same 20 test rows")
    value, low, high = found["figures"]["accuracy"]["difference"]
    assert value == pytest.approx(found["figures"]["accuracy"]["b"] - found["figures"]["accuracy"]["a"])
    assert low <= value <= high
    none = call("runs", "diff", place.good, place.bad)
    assert none["paired"] == "not both came to an evaluation"
    assert none["data"]["rows.quarantined"] == ["0", "10"]


def test_two_runs_side_by_side_are_a_page(call: Callable[..., Any], place: Place, tmp_path: Path) -> None:
    found = call("report", "compare", place.good, place.other)
    page = Path(found["page"])
    assert page.parent == place.store / "runs" / place.other
    text = page.read_text(encoding="utf-8")
    for run in (place.good, place.other):
        (link,) = re.findall(rf'<a href="([^"]+)">{run}</a>', text)
        assert (page.parent / link).resolve() == (place.store / "runs" / run / "report.html").resolve()
    assert '<td class="name">encoders.audio</td><td data-name="a">tiny</td><td data-name="b">off</td>' in text
    assert text.count('<g class="mark ') >= 4
    value = found["figures"]["accuracy"]["difference"][0]
    assert f"{value:+.3f}".replace("-", "−") in text
    elsewhere = tmp_path / "new" / "page.html"
    refused = call("report", "compare", place.good, place.bad, "--out", str(elsewhere))
    assert refused["page"] == str(elsewhere)
    assert "The figures cannot be compared row by row: not both came to an evaluation." in elsewhere.read_text()
    assert call("report", "compare", place.good, "nothing", status=2)["error"].startswith("run 'nothing'")


@pytest.mark.parametrize("stage", ["ingest", "extract", "train", "evaluate", "gate"])
def test_a_stage_is_computed_again_to_the_same_result(call: Callable[..., Any], place: Place, stage: str) -> None:
    kept = {
        path: path.stat().st_ino for kind in ("media", "features") for path in (place.store / kind).rglob("*.parquet")
    }
    results = call("run-stage", stage, "--run", place.good)
    assert results
    assert {result["equals"] for result in results.values()} == {True}
    now = {path for kind in ("media", "features") for path in (place.store / kind).rglob("*.parquet")}
    assert now == set(kept), "nothing is there twice"


def test_a_stage_that_the_run_did_not_come_to_says_what_is_missing(call: Callable[..., Any], place: Place) -> None:
    assert (
        "it has no valid; run crossmodal run-stage validate"
        in call("run-stage", "train", "--run", place.bad, status=2)["error"]
    )
    assert "stages are ingest, validate" in call("run-stage", "trian", "--run", place.bad, status=2)["error"]


def test_refresh_trains_again_and_says_unchanged(
    call: Callable[..., Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.train import stage

    trained: list[Path] = []
    real = stage.run_training
    monkeypatch.setattr(stage, "run_training", lambda job, work: (trained.append(work), real(job, work))[1])
    flags = [part for text in [*SETTINGS, "name=again"] for part in ("--set", text)]
    arguments = ("retrain", "--plain", "--data", str(place.manifest), *flags)
    first = call(*arguments)
    (checkpoint,) = {run_refs(Store(place.store), first["run"]).checkpoint.uri}  # type: ignore[union-attr]
    written = (place.store / checkpoint / "artifact.json").stat().st_ino
    assert first["work"]["computed"] == {"image": 0, "text": 0, "audio": 0}, "all of it is in the store"
    assert trained == []
    again = call(*arguments, "--refresh", "train", "--refresh", "extract")
    assert len(trained) == 1
    assert (again["verdict"], again["model"]["sha256"]) == ("unchanged", first["model"]["sha256"])
    assert again["work"]["computed"] == {"image": 60, "text": 60, "audio": 60}
    assert (place.store / checkpoint / "artifact.json").stat().st_ino == written, "an equal result replaces nothing"
    assert call(*arguments, "--refresh", "nothing", status=2)["error"].startswith("stage 'nothing'")


def test_a_refused_row_is_shown_wholly(call: Callable[..., Any], place: Place) -> None:
    rows = call("runs", "quarantine", place.bad)
    assert {row["reason"] for row in rows} == {"unreadable-image", "empty-file", "missing-file"}
    row = call("runs", "quarantine", place.bad, "--row", str(rows[0]["row"]))
    assert row["cells"]["image"] == "img/broken.png"
    assert row["facts"]["reason"] == "unreadable-image"
    assert row["read"]["audio"].endswith(".wav")
    page = Path(row["page"]).read_text()
    assert "data:image/png;base64," in page, "the bytes that were refused, and the sound as it was decoded"
    assert "it is low number 0" in page
    assert "was not refused" in call("runs", "quarantine", place.bad, "--row", "59", status=2)["error"]


def test_a_refused_row_of_several_tables_is_found_by_its_table(
    call: Callable[..., Any], place: Place, tmp_path: Path
) -> None:
    for name in ("train", "test"):
        texts = ["" if row == 3 else f"{name} text number {row}" for row in range(20)]
        lines = [f"{name}{row},{text},{'ab'[row % 2]}" for row, text in enumerate(texts)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    run = call("check", str(tmp_path))["run"]
    listed = (place.store / "runs" / run / "quarantine.csv").read_text().splitlines()
    assert listed[0] == "id,modality,path,reason,detail,row,table"
    assert [line.split(",")[-2:] for line in listed[1:]] == [["5", "test.csv"], ["5", "train.csv"]]
    several = call("runs", "quarantine", run, "--row", "5", status=2)["error"]
    assert several.endswith("row 5 was refused of test.csv, train.csv; choose one with --table")
    row = call("runs", "quarantine", run, "--row", "5", "--table", "train.csv")
    assert (row["facts"]["id"], row["cells"]["id"], row["read"]["split"]) == ("train3", "train3", "train")
    assert "Row 5 of train.csv" in Path(row["page"]).read_text()
    unknown = call("runs", "quarantine", run, "--row", "5", "--table", "train", status=2)["error"]
    assert unknown.endswith("--table 'train': rows were refused of test.csv, train.csv")
    assert "give the row as well" in call("runs", "quarantine", run, "--table", "test.csv", status=2)["error"]


@pytest.mark.parametrize("rows", [200, 12])
def test_a_pack_ends_as_the_run_did(call: Callable[..., Any], place: Place, tmp_path: Path, rows: int) -> None:
    packed = call("runs", "pack", place.bad, "--out", str(tmp_path / "repro.zip"), "--rows", str(rows))
    assert packed["rows"] == min(rows, 60)
    folder = tmp_path / "elsewhere"
    with zipfile.ZipFile(tmp_path / "repro.zip") as archive:
        archive.extractall(folder)
    assert str(place.manifest.parent) not in (folder / "data/manifest.jsonl").read_text()
    command = [
        str(Path(sys.executable).parent / "crossmodal"),
        "retrain",
        "--profile",
        "profile.toml",
        "--plain",
        "--json",
    ]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--store", "store"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert done.returncode == 3
    whole = "10 of 60 rows quarantined (16.7%; 8 unreadable-image, 1 empty-file, 1 missing-file)"
    assert error.startswith(whole if rows == 200 else "6 of 12 rows quarantined (50.0%; 6 unreadable-image)")


def test_a_pack_is_bounded_and_holds_no_password(place: Place, tmp_path: Path) -> None:
    from flows.pack import pack_run, profile_text
    from tasks.redaction import redact_json

    packed = pack_run(Store(place.store), find_run(place.store, place.bad), tmp_path / "small.zip", 60, 0.001)
    assert packed.left_out
    with zipfile.ZipFile(packed.path) as archive:
        assert sum(info.file_size for info in archive.infolist() if "/media/" in info.filename) <= 1000
    assert redact_json({"a": ["s3://me:secret@host/x", "plain@x"]}) == {"a": ["s3://host/x", "plain@x"]}
    assert profile_text({"name": "x", "gate": {"rules": [{"metric": "auto", "min": 0.5}]}}) == (
        'name = "x"\n\n[gate]\nrules = [{metric = "auto", min = 0.5}]\n'
    )


def test_the_history_page_shows_every_run(place: Place, call: Callable[..., Any], tmp_path: Path) -> None:
    page = (place.store / "runs/history/it.html").read_text()
    assert f"../{place.good}/report.html" in page
    assert page.count("<tr class=") == 3
    assert "failed" in page
    output = call("runs", "history", "it", "--out", str(tmp_path / "page.html"))
    assert Path(output["page"]).read_text().count("<tr class=") == 3
    with pytest.raises(UsageError, match="no run of it"):
        write_history_page(place.store, "nobody")


def test_killed_and_damaged_runs_are_told_as_such(tmp_path: Path) -> None:
    start = {
        "run": "a",
        "flow": "retrain",
        "model": "m",
        "started": "2026-01-01T00:00:00Z",
        "data": "x",
        "pid": os.getpid(),  # the number of a process says nothing: containers have their own
        "host": os.uname().nodename,
    }
    for name in ("a", "b"):
        (tmp_path / f"runs/{name}").mkdir(parents=True)
        (tmp_path / f"runs/{name}/run.json").write_text(json.dumps(start))
        (tmp_path / f"runs/{name}/run.lock").touch()
    (tmp_path / "runs/c").mkdir()
    (tmp_path / "runs/c/summary.json").write_text("{")
    with held(tmp_path / "runs/b/run.lock"):
        assert {record.run: record.status for record in list_runs(tmp_path)} == {
            "a": "crashed", "b": "running", "c": "unreadable",
        }  # fmt: skip


def test_what_a_killed_run_was_writing_is_cleared_by_the_next(tmp_path: Path) -> None:
    killed, live = tmp_path / "runs" / "a", tmp_path / "runs" / "b"
    for folder in (killed, killed / "docs", live):
        folder.mkdir(parents=True)
        for name in (f".report.html.{'a' * 32}", f".report.html.{'a' * 32}.lock", "kept.html"):
            (folder / name).touch()
    request = make_request(resolve_config(None, "x.csv", ()), str(tmp_path), None, "c")
    (killed / "run.lock").touch()
    with held(live / "run.lock"), recorded(request, "retrain", RunState()):
        assert sorted(path.name for path in killed.rglob("*")) == ["docs", "kept.html", "kept.html"]
        assert len(list(live.iterdir())) == 4
        assert (request.folder / "run.lock").exists()
    assert not (request.folder / "run.lock").exists()


def test_a_typed_result_says_what_happened(place: Place) -> None:
    with pytest.raises(product.UsageError, match=r"train\.epoks"):
        product.retrain(data=place.manifest, settings={"train.epoks": 1}, store=place.store)
    again = product.retrain(
        data=place.manifest, settings=settings() | {"name": "it"}, store=place.store, progress=False
    )
    assert again.rows == {"in": 60, "used": 60, "quarantined": 0, "duplicates": 0}
    assert set(again.summary) >= {"run", "verdict", "metrics"}


def test_a_run_that_was_ended_from_outside_says_how(tmp_path: Path) -> None:
    from prefect.exceptions import TerminationSignal

    ends = {
        "ended by SIGTERM": TerminationSignal(signal=signal.SIGTERM),
        "its process was ended before the run was (exit status 1)": SystemExit(1),
        "interrupted": KeyboardInterrupt(),
    }
    for number, end in enumerate(ends.values()):
        request = make_request(resolve_config(None, "x.csv", ()), str(tmp_path), None, str(number))
        with pytest.raises(type(end)), recorded(request, "retrain", RunState()):
            raise end
    runs = {run.run: (run.status, run.reason) for run in list_runs(tmp_path)}
    assert runs == {str(number): ("failed", reason) for number, reason in enumerate(ends)}
