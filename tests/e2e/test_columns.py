"""Two pictures and two texts a row: through every stage, with encoders shared, and predicted with where one is missing."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.support.data import write_manifest

Crossmodal = Callable[..., Any]
INPUTS = ["image", "image_2", "text", "text_2"]
SHARED = ("--set", 'encoders.shared=["text","image"]')


def _paint(path: Path, kind: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 120, (16, 16, 3), dtype=np.uint8)
    pixels[..., 2 * kind] += 120
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """90 rows whose label shows in both pictures' colour and in both texts; a few lack the second picture."""
    folder, rng = tmp_path / "pairs", np.random.default_rng(0)
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "front", "back", "title", "body", "label", "split"])
        for number in range(90):
            kind = number % 2
            for side in ("front", "back"):
                _paint(folder / f"{side}{number}.png", kind, rng)
            message = "low" if kind == 0 else "high"
            back = "" if number % 11 == 0 else f"back{number}.png"
            split = "test" if number < 20 else "val" if number < 40 else "train"
            writer.writerow(
                [
                    f"s{number:02}",
                    f"front{number}.png",
                    back,
                    f"{message} {number}",
                    f"no. {number}: {message}",
                    message,
                    split,
                ]
            )
    return folder / "manifest.csv"


def _keep(manifest: Path, columns: dict[str, str]) -> Path:
    """Beside the manifest one of these of its columns, under other names."""
    with manifest.open(newline="") as file:
        rows = [{new: row[old] for old, new in columns.items()} for row in csv.DictReader(file)]
    return write_manifest(manifest.with_name("other.csv"), rows)


def test_two_pictures_and_two_texts(crossmodal: Crossmodal, pairs: Path, tmp_path: Path) -> None:
    named = (
        "--set", 'data.columns.image=["front","back"]', "--set", 'data.columns.text=["title","body"]', *SHARED,
        "--set", "name=pairs",
    )  # fmt: skip
    ran = crossmodal("retrain", "--plain", "--data", str(pairs), *named)
    assert ran.status == 0, ran.err
    assert ran.json["verdict"] == "promote", ran.json["reason"]
    assert ran.json["metrics"]["test"]["accuracy"] > 0.9
    assert set(INPUTS) <= set(ran.json["by_modalities"])
    assert {"image+image_2", "+".join(INPUTS)} <= set(ran.json["by_modalities"])
    assert ran.json["work"]["computed"] == {"image": 90, "image_2": 81, "text": 90, "text_2": 90}
    store = tmp_path / "store"
    page = (store / "runs" / ran.json["run"] / "report.html").read_text()
    assert "image (column front), image_2 (column back), text (column title), text_2 (column body)" in page

    folder = next(path.parent for path in store.glob("checkpoints/*/model.safetensors"))
    card, weights = json.loads((folder / "model.json").read_text()), load_file(folder / "model.safetensors")
    assert card["modalities"] == INPUTS
    assert card["config"]["encoders"]["shared"] == ["image", "text"]
    assert {name.split(".")[1] for name in weights if name.startswith("encoders.")} == {"image", "text"}
    assert {name.split(".")[1] for name in weights if name.startswith("projections.")} == set(INPUTS)
    readme = next((store / "mlartifacts").rglob("README.md")).read_text()
    assert "`image_2` is the column back" in readme
    assert "one encoder for all of image; one encoder for all of text" in readme

    import mlflow.pyfunc
    import pandas as pd

    served = mlflow.pyfunc.load_model(str(next((store / "mlartifacts").rglob("MLmodel")).parent))
    blue = np.concatenate([np.full((32, 32, 2), 60), np.full((32, 32, 1), 180)], axis=2).tolist()
    answer = served.predict(pd.DataFrame({"image_2": [blue, None], "text_2": ["no. 1: high", "no. 2: low"]}))
    assert list(answer.columns) == ["high", "low"]
    assert list(answer.to_numpy().argmax(axis=1)) == [0, 1]

    again = crossmodal("retrain", "--plain", "--data", str(pairs), *named)
    assert (again.json["verdict"], again.json["model"]["version"]) == ("unchanged", "1")

    # By their inputs' names, one picture and one text missing altogether: nothing is asked of the config.
    other = _keep(pairs, {"id": "id", "back": "image_2", "front": "image_3", "title": "text", "label": "label"})
    out = tmp_path / "predictions.parquet"
    message = crossmodal("predict", str(other), "--model", "pairs@champion", "--out", str(out))
    assert message.status == 0, message.err
    rows = pq.read_table(out).to_pylist()
    assert {row["modalities"] for row in rows} == {"image_2+text", "text"}
    assert message.json["metrics"]["labelled"]["accuracy"] > 0.8


@pytest.mark.slow
def test_a_champion_of_one_picture_is_gone_on_from_and_judged_beside_a_model_of_two(
    crossmodal: Crossmodal, pairs: Path, tmp_path: Path
) -> None:
    common = ("--plain", "--data", str(pairs), "--set", "name=pairs", "--set", "encoders.text=off")
    first = crossmodal("retrain", *common, "--set", "data.columns.image=front", "--set", "train.epochs=1")
    assert first.json["verdict"] == "promote", first.json["reason"]
    assert set(first.json["by_modalities"]) == {"image"}
    both = ("--set", 'data.columns.image=["front","back"]', "--set", 'encoders.shared=["image"]')
    few = ("--set", "gate.min_rows=20")  # all the test rows that there are
    second = crossmodal("retrain", *common, *both, *few, "--set", "train.continue_from=champion")
    assert second.status == 0, second.err
    assert set(second.json["by_modalities"]) == {"image", "image_2", "image+image_2"}
    histories = [json.loads(path.read_text()) for path in (tmp_path / "store").glob("checkpoints/*/history.json")]
    (start,) = [history["start"] for history in histories if "start" in history]
    assert not any(name.startswith("encoders.") for name in start["fresh"]), "the encoder is the champion's own"
    assert "projections.image_2.0.weight" in start["fresh"]
    assert "macro_f1" in second.json["reason"], "it was compared with the champion"
