"""A model that answers by pictures and their mirror images: evaluated, predicted and served alike."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import crossmodal
from flows.cli import main
from flows.plan import plan_retrain
from flows.request import make_request, resolve_config

SETTINGS = ("train.heads=single", "train.epochs=8", "train.threads=1", "train.augment=false")


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """90 pictures of stripes whose label is how they lean; in the validation and test rows it is the other way, so that
    pictures are read wrongly, and a picture and its mirror image together are undecided."""
    folder, rng = tmp_path / "turned", np.random.default_rng(0)
    folder.mkdir()
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "label", "split"])
        for number in range(90):
            kind, split = number % 2, "test" if number < 20 else "val" if number < 40 else "train"
            leans = 1 if kind == int(split == "train") else -1
            stripes = (across + leans * down + rng.integers(8)) % 8 < 4
            pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[stripes] += 150
            Image.fromarray(pixels).save(folder / f"{number}.png")
            writer.writerow([f"s{number:02}", f"{number}.png", ("cat", "dog")[kind], split])
    return folder / "manifest.csv"


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["auto", "on"])
def test_what_is_predicted_and_served_is_what_was_evaluated(
    capsys: pytest.CaptureFixture[str], turned: Path, tmp_path: Path, asked: str
) -> None:
    store, out = tmp_path / "store", tmp_path / "out.parquet"
    settings = [*SETTINGS, "encoders.image=classical", f"encoders.test_time_flip={asked}"]
    settings += ['gate.rules=[{metric="accuracy", min=0}]', "name=turned"]
    given = [part for setting in settings for part in ("--set", setting)]
    code, summary = _run(capsys, "retrain", "--plain", "--data", str(turned), "--store", str(store), *given)
    assert (code, summary["verdict"]) == (0, "promote")
    (checkpoint,) = (store / "checkpoints").glob("*")
    history = json.loads((checkpoint / "history.json").read_text())
    card = json.loads((checkpoint / "model.json").read_text())
    assert history["test_time_flip"]["used"]
    assert card["encoders"]["image"]["test_time_flip"]
    assert (
        "two passes through the encoder"
        in next(store.rglob("model_card.md"), next(store.rglob("README.md"))).read_text()
    )
    (evaluated,) = (store / "evaluations").glob("*/predictions.parquet")
    expected = {row["id"]: row["probabilities"] for row in pq.read_table(evaluated).to_pylist()}

    assert _run(capsys, "predict", str(turned), "--store", str(store), "--out", str(out))[0] == 0
    found = {row["id"]: row["probabilities"] for row in pq.read_table(out).to_pylist()}
    for name, probabilities in expected.items():
        assert found[name] == probabilities

    served = crossmodal.load("turned@champion", store=str(store))
    pictures = {name: turned.parent / f"{int(name[1:])}.png" for name in expected}
    answers = served.predict([{"image": str(path)} for path in pictures.values()])
    for name, answer in zip(pictures, answers, strict=True):
        np.testing.assert_allclose(list(answer.probabilities.values()), expected[name], atol=1e-5)

    code, again = _run(capsys, "retrain", "--plain", "--data", str(turned), "--store", str(store), *given)
    assert (code, again["verdict"], again["work"]["computed"]) == (0, "unchanged", {"image": 0})
    config = resolve_config(None, str(turned), settings)
    lines = {line["stage"]: line["action"] for line in plan_retrain(make_request(config, str(store), None, "plan"))}
    assert lines["train"] == "reuse"
    assert ("extract image, test-time flip" in lines) == (asked == "auto")


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    """Exit status, and the JSON on the last line."""
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--json"])
    assert isinstance(done.value.code, int)
    return done.value.code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])
