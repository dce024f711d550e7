"""A lost store comes back from a backup, at another place: registry, predictions, and nothing to compute again."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest


def crossmodal(store: Path, *arguments: str | Path) -> Any:
    command = [sys.executable, "-m", "flows", *map(str, arguments), "--store", str(store), "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_store_copied_during_a_run_is_whole(learnable: Path, small_settings: list[str], tmp_path: Path) -> None:
    store, out = tmp_path / "a store", tmp_path / "predictions.parquet"
    retrain = ("retrain", "--plain", "--data", learnable, *small_settings)
    first = crossmodal(store, *retrain)
    crossmodal(store, "predict", learnable, "--out", out)
    before = pq.read_table(out)

    # Another run trains another model of other features; copies are taken from its start to its end.
    other = ("--set", "media.image_px=16", "--set", "name=other")
    command = [sys.executable, "-m", "flows", *map(str, retrain), *other, "--store", str(store)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    copies = []
    try:
        while run.poll() is None:
            copies.append(tmp_path / f"copy{len(copies)}")
            crossmodal(store, "backup", "--out", copies[-1])
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0
    assert len(copies) > 1, "no copy was taken while the run wrote"
    shutil.rmtree(store)

    for copy in (copies[len(copies) // 2], copies[-1]):
        place = tmp_path / f"from {copy.name}"
        crossmodal(place, "restore", copy)
        assert "learnable" in {model["name"] for model in crossmodal(place, "models", "list")}
        again = crossmodal(place, *retrain)
        assert (again["verdict"], set(again["work"]["computed"].values())) == ("unchanged", {0})
        assert again["model"] == first["model"]
    crossmodal(place, "predict", learnable, "--model", "learnable", "--out", out)
    assert pq.read_table(out).equals(before)
    finished = crossmodal(tmp_path / f"from {copies[len(copies) // 2].name}", *retrain, *other)
    assert finished["verdict"] in {"promote", "unchanged"}, "the run that was under way can be done again"
