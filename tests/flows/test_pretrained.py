"""Whole runs with pretrained encoders: retrained, predicted with, judged against, and refused when their files change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main

FROZEN = ["--set", "encoders.image_px=64", "--set", "encoders.audio=off"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON on the last line, and stderr."""
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--json"])
    told = capsys.readouterr()
    assert isinstance(done.value.code, int)
    return done.value.code, json.loads(told.out.strip().splitlines()[-1]), told.err


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
    first = retrain(capsys, learnable, store, *small_settings, *FROZEN, *named)
    assert first["verdict"] == "promote"
    assert first["work"]["computed"] == {"image": 120, "text": 120}
    card = json.loads(next((store / "checkpoints").glob("*/model.json")).read_text())
    encoders = card["encoders"]
    assert {name: (e["reads"], e["width"]) for name, e in encoders.items()} == {
        "image": ("embedding", 512),
        "text": ("embedding", 32),
    }
    again = retrain(capsys, learnable, store, *small_settings, *FROZEN, *named)
    assert (again["verdict"], again["work"]["computed"]) == ("unchanged", {"image": 0, "text": 0})
    # Another kind of encoder is judged against this champion on the same rows, each reading its own features.
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
    there = ["--set", f"encoders.image=torchvision:squeezenet1_1@{moved}"]
    assert run(capsys, *predict, "--model", name, *there)[0] == 0
    moved.write_bytes(moved.read_bytes()[:-4] + b"0000")
    code, summary, _ = run(capsys, *predict, "--model", name, *there)
    assert (code, "has changed" in summary["error"]) == (4, True)


def test_a_trained_encoder_is_part_of_the_model(
    capsys: pytest.CaptureFixture[str], learnable: Path, small_settings: list[str], bert: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    flags = ["--set", f"encoders.text=hf:{bert}", "--set", "encoders.audio=off", "--set", "encoders.image=off"]
    regime = ["--set", "train.regime=full", "--set", "train.head_epochs=1"]
    first = retrain(capsys, learnable, store, *small_settings, *flags, *regime)
    assert first["verdict"] == "promote"
    predict = ["predict", str(learnable), "--store", str(store), "--out", str(tmp_path / "out.parquet")]
    code, summary, _ = run(capsys, *predict)
    assert (code, summary["model"]["sha256"]) == (0, first["model"]["sha256"])
