"""`crossmodal explain` on real files: what it leaves, that nothing is done twice, what it refuses; predict --explain."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.run_summary import RunSummary
from flows.champion import champion_config
from flows.cli import main
from flows.explained_predictions import explain_predictions
from flows.explaining import explain_model
from flows.predictions import predict_rows
from flows.request import Request, make_request, resolve_config
from flows.run_state import RunState
from flows.serving.loading import find_published, load_predictor
from flows.serving.predictor import PreparedRow
from flows.stages import ExplainStages
from tasks.ingest.manifest.carried_columns import CarriedColumns
from tasks.modeling.card import read_card
from tests.support.folder_models import write_model
from tests.waiting import wait_until

SETTINGS = [
    "runtime.workers=1",
    "media.timeout_s=600",
    "explain.fidelity_rows=4",
    "explain.samples=3",
    "explain.n_steps=8",
]
INPUTS = ("image", "text", "audio")


def request_for(data: Path, store: Path, *settings: str, run: str = "run") -> Request:
    return make_request(resolve_config(None, str(data), [*SETTINGS, *settings]), str(store), None, run)


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE", "CROSSMODAL_REFRESH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_learnable: Callable[[Path], Path]) -> Path:
    """A folder with data and a model of random weights."""
    folder = tmp_path_factory.mktemp("explained")
    make_learnable(folder / "data")
    write_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def explained(place: Path) -> tuple[Request, RunSummary]:
    request = request_for(place / "data/manifest.csv", place / "store")
    return request, explain_model(request, str(place / "model"))


def test_page_and_figures_lie_in_the_run_s_folder(explained: tuple[Request, RunSummary]) -> None:
    request, summary = explained
    found = json.loads((request.folder / "explanations.json").read_text())
    assert found["rows"] == 20
    assert [each["input"] for each in found["inputs"]] == list(INPUTS)
    assert len(found["explained"]) == 3
    for row in found["values"]:
        assert sum(row["shapley"].values()) == pytest.approx(row["value"] - row["base"], abs=1e-6)
    for row in found["explained"]:
        assert {each["input"] for each in row["attributions"]} == set(INPUTS)
        assert len(row["neighbours"]) == 4
        assert {each["input"] for each in row["swaps"]} == set(INPUTS)
    assert found["mistakes"][0] == found["explained"][0]["id"]
    assert found["explained"][0]["loss"] == max(each["loss"] for each in found["explained"])
    assert {each["input"] for each in found["swaps"]} == set(INPUTS)
    page = (request.folder / "report.html").read_text()
    assert page.count("<audio controls") == 3
    assert all(each["id"] in page for each in found["explained"])
    assert "http://" not in page
    assert "https://" not in page
    assert str(request.store.root) not in page
    assert summary.found == {"rows": 20, "rows explained in detail": 3, "wrong answers": found["wrong"]}
    assert summary.model is not None
    assert summary.model.name == "model"


def test_ended_it_goes_on_and_does_nothing_twice(
    explained: tuple[Request, RunSummary], place: Path, tmp_path: Path
) -> None:
    parts, made = ExplainStages(), []

    def interrupted(*arguments: Any) -> Any:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(parts.part(*arguments))
        return made[-1]

    data, store, model = place / "data/manifest.csv", tmp_path / "store", str(place / "model")
    with pytest.raises(KeyboardInterrupt):
        explain_model(request_for(data, store), model, parts=ExplainStages(part=interrupted))
    before = {path: path.stat().st_mtime_ns for path in store.glob("explanation_parts/*/artifact.json")}
    assert len(before) == 3
    second = request_for(data, store, run="2")
    explain_model(second, model)
    after = {path: path.stat().st_mtime_ns for path in store.glob("explanation_parts/*/artifact.json")}
    assert before.items() < after.items()
    undisturbed = explained[0].folder / "explanations.json"
    assert (second.folder / "explanations.json").read_bytes() == undisturbed.read_bytes()
    explain_model(request_for(data, store, "explain.samples=2", run="3"), model)
    again = {path: path.stat().st_mtime_ns for path in store.glob("explanation_parts/*/artifact.json")}
    kinds = [json.loads(path.read_text())["ref"]["part"] for path in again.keys() - after.keys()]
    assert set(kinds) <= {"attributions"}, "fewer rows to show: only what is looked at in detail is cut anew"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rows", "0"], "--rows"),
        (["--set", "explain.rows=0"], "explain.rows"),
        (["--set", "explain.samples=0"], "explain.samples"),
        (["--input", "video"], "does not read video; it reads image, text, audio"),
        (["--label", "zebra"], "'zebra': not a label of the model, which knows 'high', 'low'"),
        (["--id", "nobody"], "no usable row of split test has the id 'nobody'"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_usage_is_one_line_before_any_work(
    flags: list[str], message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [] if "--data" in flags else ["--data", str(place / "data/manifest.csv")]
    with pytest.raises(SystemExit) as stop:
        main(["explain", str(place / "model"), *data, "--store", str(tmp_path / "store"), *flags])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error:")
    assert message in lines[-1]
    assert not list(tmp_path.glob("store/media/*"))


def test_a_folder_that_is_no_model_and_rows_that_nobody_names(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, data, message in (
        (f"{tmp_path}/", ["--data", str(place / "data/manifest.csv")], "no folder with model.json"),
        (
            str(place / "model"),
            [],
            "a model in a folder tells nothing of its data; name the data of its rows with --profile or --data",
        ),
        ("photos", [], "not in the registry"),
        ("photos", ["--data", str(place / "data/manifest.csv")], "not in the registry"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["explain", model, *data, "--store", str(tmp_path / "store")])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_captum_is_missed_before_any_work(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setattr("flows.predictions.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(["explain", str(place / "model"), "--data", str(place / "data/manifest.csv"), "--store", str(tmp_path)])
    assert stop.value.code == 4
    assert "pip install 'crossmodal[explain]'" in capsys.readouterr().err


# -- killed, and two at once ---


def command(place: Path, store: Path) -> list[str]:
    given = [flag for each in [*SETTINGS, "explain.fidelity_rows=20"] for flag in ("--set", each)]
    data = ["--data", str(place / "data/manifest.csv"), "--store", str(store), "--json"]
    return [sys.executable, "-m", "flows", "explain", str(place / "model"), *data, *given]


def report_of(done: subprocess.CompletedProcess[str], store: Path) -> bytes:
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    return (store / summary["report"]).with_name("explanations.json").read_bytes()


@pytest.mark.slow
def test_killed_in_the_middle_and_by_two_at_once_it_ends_as_if_undisturbed(place: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[2]
    run = {"text": True, "env": environment, "cwd": root}
    whole = subprocess.run(command(place, tmp_path / "whole"), capture_output=True, check=True, **run)  # type: ignore[call-overload]
    store = tmp_path / "killed"
    worker = subprocess.Popen(command(place, store), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **run)  # type: ignore[call-overload]

    def due() -> bool:
        return worker.poll() is not None or len(list(store.glob("explanation_parts/*/artifact.json"))) >= 3

    wait_until(due, "three chunks are done")
    assert worker.poll() is None, "it was over before it could be killed"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    before = {path: path.stat().st_mtime_ns for path in store.glob("explanation_parts/*/artifact.json")}
    workers = [
        subprocess.Popen(command(place, store), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **run)  # type: ignore[call-overload]
        for _ in range(2)
    ]
    ends = [subprocess.CompletedProcess("", each.wait(), *each.communicate()) for each in workers]
    assert [each.returncode for each in ends] == [0, 0], ends[0].stderr + ends[1].stderr
    after = {path: path.stat().st_mtime_ns for path in store.glob("explanation_parts/*/artifact.json")}
    assert before.items() <= after.items()
    assert len(after) == len(list((tmp_path / "whole").glob("explanation_parts/*/artifact.json")))
    right = report_of(whole, tmp_path / "whole")
    assert [report_of(each, store) == right for each in ends] == [True, True]


@pytest.mark.slow
def test_as_a_flow_each_chunk_is_a_task(place: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from flows.environment import use_prefect; use_prefect(Path(sys.argv[3])); "
        "from flows.explain import explain; import json; "
        "print(json.dumps(explain(data=sys.argv[1], model=sys.argv[2], overrides=sys.argv[4:], store=sys.argv[3])))"
    )
    (tmp_path / "store").mkdir()
    words = [str(place / "data/manifest.csv"), str(place / "model"), str(tmp_path / "store"), *SETTINGS]
    environment = os.environ | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600"}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, cwd=root, check=True
    )
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    logged = done.stdout + done.stderr
    for part in ("answers 0", "shapley 0", "swaps 0", "embeddings 0", "attributions 0", "attributions 1"):
        assert f"Task run '{part}' - Finished in state Completed()" in logged
    assert (tmp_path / "store" / summary["report"]).is_file()


# -- predict ---


def test_predict_tells_what_each_input_adds(place: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader((place / "data/manifest.csv").open()))[:3]
    rows[1]["audio"], rows[2]["image"] = "", "nowhere.png"
    manifest = place / "data/new.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    request = request_for(manifest, tmp_path / "store", "data.max_quarantined=1.0")
    champion = find_published(place / "model", request)
    card, state = read_card(place / "model"), RunState(champion=champion)
    with CarriedColumns((), request.store.root) as carried:
        predicted = predict_rows(request, champion, card, state, carried)
        assert state.clean is not None
        config = champion_config(champion, card, request)
        found, page = explain_predictions(predicted, state.clean, champion, card, config, state, request)
        table = [row for part in found.tables() for row in part.to_pylist()]
    names = [f"shapley_{name}" for name in INPUTS]
    assert table[2]["reason"] == "missing-file"
    assert [table[2][name] for name in [*names, "shapley_base"]] == [None] * 4
    assert table[1]["shapley_audio"] is None
    for row in table[:2]:
        added = sum(row[name] or 0.0 for name in names)
        assert added + row["shapley_base"] == pytest.approx(row["probability"], abs=1e-5)
    assert page is not None
    assert (request.store.root / page).read_text().count('<section class="card">') == 2
    few = request_for(manifest, tmp_path / "store", "explain.samples=1", run="2")
    config = champion_config(champion, card, few)
    assert explain_predictions(predicted, state.clean, champion, card, config, state, few)[1] is None


def test_frozen_encoders_are_looked_through(squeezenet: Path, bert: Path, tmp_path: Path) -> None:
    """Grad-CAM through a frozen network of convolutions, integrated gradients over a tokenizer's words."""
    frozen = {"image": f"torchvision:squeezenet1_1@{squeezenet}", "text": f"hf:{bert}"}
    request = request_for(Path("builtin:digits"), tmp_path / "store")
    model = find_published(write_model(tmp_path / "frozen", frozen=frozen, inputs=("image", "text")), request)
    predictor = load_predictor(model, request, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (row,) = predictor.prepare([{"image": pixels, "text": "it is low words"}])
    assert isinstance(row, PreparedRow)
    before = predictor.answer([row])
    (told,) = predictor.explain([row])
    picture, words = told.attributions
    assert (picture.method, picture.gap, picture.difference) == ("Grad-CAM", None, None)
    assert min(map(min, picture.map)) >= 0
    assert len(picture.map) > 1
    assert [each.name for each in words.values] == ["it", "is", "low", "words"]
    assert words.gap is not None
    assert words.gap < 0.1
    assert words.difference == pytest.approx(sum(each.value for each in words.values), abs=0.02)
    assert predictor.answer([row]) == before
    predictor.close()
