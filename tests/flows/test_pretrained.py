"""Whole runs with pretrained encoders: retrained, predicted with, compared with, and refused when their files change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.cli import main
from tasks.modeling.card import ModelCard

FROZEN = ["--set", "encoders.image_px=64", "--set", "encoders.audio=off"]
LEFT_OUT = ["--set", "publish.include_encoders=false"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON on the last line, and stderr."""
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert isinstance(done.value.code, int)
    return done.value.code, json.loads(captured.out.strip().splitlines()[-1]), captured.err


def retrain(capsys: pytest.CaptureFixture[str], data: Path, store: Path, *flags: str) -> dict[str, Any]:
    code, summary, err = run(capsys, "retrain", "--plain", "--data", str(data), "--store", str(store), *flags)
    assert code == 0, err
    return summary


@pytest.mark.slow
def test_a_frozen_encoder_from_first_run_to_lost_weights(
    capsys: pytest.CaptureFixture[str],
    learnable: Path,
    small_settings: list[str],
    squeezenet: Path,
    bert: Path,
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    named = ["--set", f"encoders.image=torchvision:squeezenet1_1@{squeezenet}", "--set", f"encoders.text=hf:{bert}"]
    first = retrain(capsys, learnable, store, *small_settings, *FROZEN, *named, *LEFT_OUT)
    assert first["verdict"] == "promote"
    assert first["work"]["computed"] == {"image": 120, "text": 120}
    card = json.loads(next((store / "checkpoints").glob("*/model.json")).read_text())
    encoders = card["encoders"]
    assert {name: (e["reads"], e["width"]) for name, e in encoders.items()} == {
        "image": ("embedding", 512),
        "text": ("embedding", 32),
    }
    again = retrain(capsys, learnable, store, *small_settings, *FROZEN, *named, *LEFT_OUT)
    assert (again["verdict"], again["work"]["computed"]) == ("unchanged", {"image": 0, "text": 0})
    # Another kind of encoder is compared with this champion on the same rows, each reading its own features.
    other = retrain(capsys, learnable, store, *small_settings, "--set", "encoders.audio=off")
    assert other["verdict"] in ("promote", "reject", "inconclusive", "needs-approval")

    predict = ["predict", str(learnable), "--store", str(store), "--out", str(tmp_path / "out.parquet")]
    name = f"{first['model']['name']}@champion"
    if other["verdict"] == "promote":
        assert run(capsys, "models", "rollback", first["model"]["name"], "--store", str(store))[0] == 0
    code, summary, _ = run(capsys, *predict, "--model", name)
    assert (code, summary["model"]["sha256"]) == (0, first["model"]["sha256"])

    moved = squeezenet.rename(tmp_path / "moved.safetensors")
    code, summary, _ = run(capsys, *predict, "--model", name)
    assert code == 4
    assert "there is no file" in summary["error"]
    assert "--set encoders.image=" in summary["error"]
    anew = ["retrain", "--plain", "--data", str(learnable), "--store", str(store), *small_settings, "--set", "seed=5"]
    code, summary, _ = run(capsys, *anew, "--set", "encoders.audio=off")
    assert code == 4
    assert "version 1: the champion cannot be compared with: the model reads image with files" in summary["error"]
    assert "(--set name=...)" in summary["error"]
    assert (summary["seconds"]["extract"], summary["seconds"]["train"]) == (0, 0)
    there = ["--set", f"encoders.image=torchvision:squeezenet1_1@{moved}"]
    assert run(capsys, *predict, "--model", name, *there)[0] == 0
    moved.write_bytes(moved.read_bytes()[:-4] + b"0000")
    code, summary, _ = run(capsys, *predict, "--model", name, *there)
    assert (code, "has changed" in summary["error"]) == (4, True)


@pytest.mark.slow
def test_a_trained_encoder_is_part_of_the_model(
    capsys: pytest.CaptureFixture[str],
    learnable: Path,
    small_settings: list[str],
    bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    flags = ["--set", f"encoders.text=hf:{bert}", "--set", "encoders.audio=off", "--set", "encoders.image=off"]
    regime = ["--set", "train.regime=full", "--set", "train.head_epochs=1"]
    first = retrain(capsys, learnable, store, *small_settings, *flags, *regime)
    assert first["verdict"] == "promote"
    shutil.rmtree(bert)
    predict = ["predict", str(learnable), "--store", str(store), "--out", str(tmp_path / "out.parquet")]
    read, parse = [], ModelCard.model_validate
    monkeypatch.setattr(ModelCard, "model_validate", lambda record: read.append(record) or parse(record))
    code, summary, _ = run(capsys, *predict)
    assert (code, summary["model"]["sha256"]) == (0, first["model"]["sha256"])
    assert len(read) == 1, "one prediction reads the model's card once"


SERVE = """
import sys
import mlflow.pyfunc, numpy as np, pandas as pd
from PIL import Image
model = mlflow.pyfunc.load_model(sys.argv[1])
pixels = np.array(Image.open(sys.argv[2]).convert("RGB").resize((64, 64)), np.uint8).tolist()
frame = pd.DataFrame({"text": [None, "  it is low\\tnumber 3", "it is high number 0"], "image": [pixels, None, None]})
print(model.predict(frame).to_json(orient="values"))
"""


@pytest.fixture
def trained(
    capsys: pytest.CaptureFixture[str], learnable: Path, small_settings: list[str], squeezenet: Path, bert: Path
) -> Path:
    """A store with a model of both encoders, trained in full; the encoders' files are gone."""
    store = learnable.parent / "store"
    named = ["--set", f"encoders.image=torchvision:squeezenet1_1@{squeezenet}", "--set", f"encoders.text=hf:{bert}"]
    regime = ["--set", "train.regime=full", "--set", "train.head_epochs=1", "--set", "train.epochs=1"]
    summary = retrain(capsys, learnable, store, *small_settings, *FROZEN, *named, *regime)
    assert summary["verdict"] == "promote", summary["reason"]
    shutil.rmtree(bert)
    squeezenet.unlink()
    return store


def away(store: Path, folder: Path, *command: str) -> str:
    """What a fresh process says that starts in an empty folder, without a network and with an empty home."""
    (folder / "home").mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[2]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    env |= {"CROSSMODAL_STORE": str(store), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_trained_model_needs_nothing_of_what_it_was_trained_from(
    capsys: pytest.CaptureFixture[str], trained: Path, learnable: Path, small_settings: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    captured = away(trained, tmp_path / "away", "-m", "flows", "predict", str(learnable), "--out", str(out), "--json")
    summary = json.loads(captured.splitlines()[-1])
    # What extraction made for training is found again: the encoders are the same.
    assert summary["work"]["computed"] == {"image": 0, "text": 0}
    predictions = {row["id"]: row for row in pq.read_table(out).to_pylist()}
    evaluated = pq.read_table(next((trained / "evaluations").glob("*/predictions.parquet"))).to_pylist()
    assert len(evaluated) == 20
    for row in evaluated:
        assert predictions[row["id"]]["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)
    # New media too: another store has no features of them.
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(trained, elsewhere, ignore=shutil.ignore_patterns("features", "champions"))
    captured = away(elsewhere, tmp_path / "away", "-m", "flows", "predict", str(learnable), "--out", str(out), "--json")
    assert json.loads(captured.splitlines()[-1])["work"]["computed"] == {"image": 120, "text": 120}
    again = {row["id"]: row["probabilities"] for row in pq.read_table(out).to_pylist()}
    assert again == {name: row["probabilities"] for name, row in predictions.items()}
    # As champion it is evaluated on the same rows as its challenger, which reads otherwise.
    other = retrain(capsys, learnable, trained, *small_settings, "--set", "encoders.audio=off")
    assert other["verdict"] in ("promote", "reject", "inconclusive", "needs-approval")
    reports = [json.loads(path.read_text())["ref"] for path in (trained / "evaluations").glob("*/artifact.json")]
    assert [report["champion_version"] for report in reports if report["champion_version"]] == ["1"]


@pytest.mark.slow
def test_mlflow_serves_a_trained_model_from_texts_and_pixels(trained: Path, learnable: Path, tmp_path: Path) -> None:
    (logged,) = (trained / "mlartifacts").glob("*/*/artifacts/model")
    served = tmp_path / "away" / "served"
    shutil.copytree(logged, served)
    shutil.rmtree(trained)
    for folder in ("img", "snd"):
        shutil.move(learnable.parent / folder, tmp_path / folder)
    picture = tmp_path / "img" / "3.png"
    assert Image.open(picture).size == (24, 24)
    captured = away(tmp_path / "nowhere", tmp_path / "away", "-c", SERVE, str(served), str(picture))
    rows = json.loads(captured.splitlines()[-1])
    assert [round(sum(row), 5) for row in rows] == [1, 1, 1]
    assert rows[1] != rows[2]
