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
    """90 pictures of stripes whose label is how they lean, and a little how red they are; in the validation and test rows they
    lean the other way, so that pictures are read wrongly, and a picture and its mirror image together by their colour."""
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
            pixels[..., 0] += np.uint8(30 * kind)
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

    beside = {"image, test-time flip": 40} if asked == "auto" else {}  # those of the validation and test rows
    assert summary["work"] == {"computed": {"image": 90, **beside}, "reused": dict.fromkeys(["image", *beside], 0)}
    docs = {page.parent.name for page in store.glob("runs/*/docs/*/index.html")}
    assert ("flipped_features" in docs) == (asked == "auto")

    code, again = _run(capsys, "retrain", "--plain", "--data", str(turned), "--store", str(store), *given)
    computed = dict.fromkeys(["image", *beside], 0)
    assert (code, again["verdict"], again["work"]["computed"]) == (0, "unchanged", computed)
    assert again["work"]["reused"] == {"image": 90, **beside}
    config = resolve_config(None, str(turned), settings)
    lines = {line["stage"]: line["action"] for line in plan_retrain(make_request(config, str(store), None, "plan"))}
    assert lines["train"] == "reuse"
    assert ("extract image, test-time flip" in lines) == (asked == "auto")


@pytest.mark.slow
def test_a_champion_that_divides_the_rows_otherwise_is_compared_on_all_rows_that_it_reads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It refuses the oldest pictures, so that the newest of its rows are fewer than today's."""
    folder, rng = tmp_path / "aging", np.random.default_rng(0)
    folder.mkdir()
    rows = [["id", "image", "label", "time"]]
    for number in range(80):
        side = 64 if number < 30 else 32
        tiles = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) // (1 + number % 2)
        pixels = tiles.repeat(side // 4, axis=0).repeat(side // 4, axis=1)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append([f"s{number:02}", f"{number}.png", ("cat", "dog")[number % 2], str(number)])
    manifest = folder / "manifest.csv"
    settings = [*SETTINGS, "encoders.image=classical", "encoders.test_time_flip=on", "split.by=time", "name=aging"]
    settings += ['gate.rules=[{metric="accuracy", min=0}]', "train.epochs=2", "data.max_quarantined=1"]
    given = [part for setting in settings for part in ("--set", setting)]
    asked = ("retrain", "--plain", "--data", str(manifest), "--store", str(tmp_path / "store"), *given)

    manifest.write_text("\n".join(map(",".join, rows[:51])))
    code, before = _run(capsys, *asked, "--set", "media.max_pixels=2000")
    assert (code, before["verdict"]) == (0, "promote")
    assert before["rows"] == before["rows"] | {"used": 20, "quarantined": 30}
    manifest.write_text("\n".join(map(",".join, rows)))
    code, summary = _run(capsys, *asked)
    assert code in (0, 3), summary["reason"]
    (compared,) = (rule for rule in summary["rules"] if rule["rule"].endswith("not worse than the champion"))
    assert compared["n"] == summary["splits"]["test"] > 0.15 * 50, "more than are in its own test split"


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    """Exit status, and the JSON on the last line."""
    with pytest.raises(SystemExit) as done:
        main([*arguments, "--json"])
    assert isinstance(done.value.code, int)
    return done.value.code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])
