"""Pets: a picture, a text and a table's columns, through the command line; the label hangs on a number and a category."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tasks.store import Store
from tests.support.data import paint, write_manifest

Crossmodal = Callable[..., Any]
COLUMNS = 'data.columns.tabular=["age", "breed", "fee", "vaccinated"]'
QUICK = [
    *(
        "--set",
        COLUMNS,
        "--set",
        "train.epochs=14",
        "--set",
        "train.learning_rate=0.006",
        "--set",
        "train.batch_size=32",
    ),
    *("--set", "extract.image_px=16", "--set", "fusion.embed_dim=32", "--set", "fusion.hidden=32"),
    *("--set", "fusion.modality_dropout=0.2"),
]
BARE = ["--set", "train.epochs=1", "--set", "encoders.image=off", "--set", "encoders.text=off"]
BREEDS = ("tabby", "siamese", "poodle", "beagle")


def write_pets(folder: Path, rows: int = 320) -> Path:
    """Young cats and old dogs are adopted fast. Pictures and texts say nothing of that; some cells are empty."""
    rng = np.random.default_rng(0)
    (folder / "img").mkdir(parents=True)
    table = []
    for number in range(rows):
        paint(folder / f"img/{number}.png", int(rng.integers(2)), rng)
        age, breed = rng.gamma(2, 12), BREEDS[rng.integers(4)]
        fast = (age < 20) != (breed in BREEDS[2:])
        table.append(
            {
                "id": f"p{number:03}",
                "image": f"img/{number}.png" if number % 7 else "",
                "text": f"{('a lovely', 'a shy', 'a playful')[rng.integers(3)]} animal, number {number}",
                "age": "" if number % 40 == 3 else f"{age:.1f}",
                "breed": "" if number % 40 == 7 else breed,
                "fee": str(rng.integers(0, 200)),
                "vaccinated": str(rng.random() < 0.5),
                "label": "fast" if fast else "slow",
                "split": "test" if number < 60 else "val" if number < 110 else "train",
            }
        )
    return write_manifest(folder / "pets.csv", table)


def changed(manifest: Path, name: str, change: Callable[[dict[str, str], int], dict[str, str]]) -> Path:
    """The same manifest beside it, each row changed."""
    with manifest.open(newline="") as file:
        rows = [change(row, number) for number, row in enumerate(csv.DictReader(file))]
    return write_manifest(manifest.with_name(name), rows)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_pets(tmp_path / "pets")


def card_of(tmp_path: Path) -> dict[str, Any]:
    (path,) = (tmp_path / "store" / "checkpoints").glob("*/model.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def fitted_columns(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in card["encoders"]["tabular"]["settings"]["columns"]}


def test_a_number_and_a_category_are_learned_reported_and_predicted_with(
    crossmodal: Crossmodal, pets: Path, tmp_path: Path
) -> None:
    ran = crossmodal("retrain", "--plain", "--data", str(pets), *QUICK)
    assert ran.status == 0, ran.err
    figures = {name: each["accuracy"] for name, each in ran.json["by_modalities"].items()}
    assert figures["image+text+tabular"] >= 0.85
    assert figures["tabular"] >= 0.85
    assert figures["image+text"] <= 0.7, "pictures and texts say nothing"
    assert ran.json["work"]["computed"]["tabular"] == 320

    (path,) = (tmp_path / "store" / "evaluations").glob("*/detail.json")
    importance = json.loads(path.read_text())["importance"]
    drops = {column["name"]: column["drop"] for column in importance["columns"]}
    assert (importance["metric"], importance["rows"]) == ("accuracy", 50)
    assert min(drops["age"], drops["breed"]) > 0.1 > max(drops["fee"], drops["vaccinated"]) + 0.02

    page = (tmp_path / "store" / ran.json["report"]).read_text()
    assert "What each column contributes" in page
    assert "Columns of tabular" in page
    assert "<th>breed</th><td>" in page, "the cells of a row that was mistaken"
    (readme,) = (tmp_path / "store").rglob("artifacts/README.md")
    assert "`tabular` is 4 columns: age, breed, fee, vaccinated" in readme.read_text()

    columns = fitted_columns(card_of(tmp_path))
    assert {name: column["type"] for name, column in columns.items()} == {
        "age": "numeric",
        "breed": "categorical",
        "fee": "numeric",
        "vaccinated": "categorical",
    }
    assert sorted(columns["breed"]["categories"]) == sorted(BREEDS)

    out = tmp_path / "predictions.parquet"
    strange = changed(pets, "strange.csv", lambda row, n: row | ({"breed": "zebra", "fee": "free"} if n < 3 else {}))
    again = crossmodal("predict", str(strange), "--out", str(out))
    assert again.status == 0, again.err
    notes = " ".join(again.json["notes"])
    assert "tabular column 'breed': 3 of 312 cells are of a category that the model does not know ('zebra')" in notes
    assert "tabular column 'fee': 3 of 320 cells are no numbers and count as missing ('free')" in notes
    assert again.json["work"]["computed"]["tabular"] == 3, "what training encoded is read again"
    assert set(pq.read_table(out)["modalities"].to_pylist()) == {"image+text+tabular", "text+tabular"}

    fewer = changed(pets, "fewer.csv", lambda row, n: {key: row[key] for key in row if key not in ("breed", "label")})
    again = crossmodal("predict", str(fewer), "--out", str(out))
    assert again.status == 0, again.err
    assert "no column 'breed': it is missing in every row" in again.json["notes"]
    serve_rows(pets, tmp_path, ran.json["model"]["name"], crossmodal, out)


def serve_rows(pets: Path, tmp_path: Path, name: str, crossmodal: Crossmodal, out: Path) -> None:
    """A plain data frame gets from the logged model what `predict` says of the same rows."""
    import mlflow.pyfunc
    import pandas as pd

    bare = changed(
        pets, "bare.csv", lambda row, n: {key: row[key] for key in ("id", "age", "breed", "fee", "vaccinated")}
    )
    ran = crossmodal("predict", str(bare), "--out", str(out))
    assert ran.status == 0, ran.err
    expected = np.array(pq.read_table(out)["probabilities"].to_pylist())
    (folder,) = {path.parent for path in tmp_path.rglob("MLmodel")}
    model = mlflow.pyfunc.load_model(str(folder))
    frame = pd.read_csv(bare, dtype={"vaccinated": bool})[["age", "breed", "fee", "vaccinated"]]
    served = model.predict(frame).to_numpy(dtype=np.float64)
    assert np.allclose(served, expected, atol=1e-5)


def test_check_tells_what_is_wrong_with_columns(crossmodal: Crossmodal, pets: Path) -> None:
    def odd(row: dict[str, str], number: int) -> dict[str, str]:
        more = {
            "outcome": "1" if row["label"] == "fast" else "0",
            "shop": "north",
            "chip": str(number) if number < 9 else "",
        }
        return row | more | {"zip": f"{number:05}", "born": f"2020-01-{1 + number % 28:02}"}

    columns = 'data.columns.tabular=["age", "outcome", "shop", "chip", "zip", "born"]'
    ran = crossmodal("check", str(changed(pets, "odd.csv", odd)), "--set", columns, small=False)
    assert ran.status == 0, ran.err
    for text in (
        "tabular column 'zip': is categorical, as '00000' begins with a zero",
        "tabular column 'born': holds dates",
        "tabular column 'outcome': determines the label of every row: leakage",
        "tabular column 'shop': holds one value in every row",
        "tabular column 'chip': 311 of 320 rows lack it",
    ):
        assert text in ran.err, text
    assert "tabular column 'age'" not in ran.err


@pytest.mark.slow
def test_drift_is_looked_for_in_each_column_and_a_packed_run_has_their_cells(
    crossmodal: Crossmodal, pets: Path, tmp_path: Path
) -> None:
    trained = crossmodal("retrain", "--plain", "--data", str(pets), *QUICK, *BARE, "--set", "gate.rules=[]")
    assert trained.json["verdict"] == "promote"
    older = changed(
        pets,
        "older.csv",
        lambda row, n: row | {"id": f"new {n}", "age": str(200 + n), "breed": "poodle" if n % 3 else "zebra"},
    )
    ran = crossmodal("monitor", str(older))
    assert ran.status == 0, ran.err
    tests = {test["name"]: test for test in ran.json["tests"]}
    assert tests["tabular age"]["drifted"]
    assert tests["tabular age"]["method"] == "kolmogorov-smirnov"
    assert tests["tabular breed"]["drifted"]
    assert tests["tabular breed"]["method"] == "chi-square"
    assert not tests["tabular fee"]["drifted"]
    assert not tests["tabular vaccinated"]["drifted"]
    assert tests["tabular age missing"]["after"] == "0.0 %"

    packed = tmp_path / "pack.zip"
    ran = crossmodal("runs pack", trained.json["run"], "--out", str(packed), small=False)
    assert ran.status == 0, ran.err
    with zipfile.ZipFile(packed) as archive:
        first = json.loads(archive.read("data/manifest.jsonl").decode().splitlines()[0])
    with pets.open(newline="") as file:
        row = next(csv.DictReader(file))
    assert {name: first[name] for name in ("age", "breed", "fee", "vaccinated")} == {
        name: row[name] for name in ("age", "breed", "fee", "vaccinated")
    }
    assert first.keys() == row.keys()


@pytest.mark.slow
def test_no_test_row_shapes_what_is_fitted(crossmodal: Crossmodal, pets: Path, tmp_path: Path) -> None:
    quick = [*QUICK, *BARE]
    extreme = changed(
        pets,
        "extreme.csv",
        lambda row, n: row | ({"age": "1e9", "breed": "unicorn"} if row["split"] != "train" else {}),
    )
    found = []
    for number, manifest in enumerate((pets, extreme)):
        ran = crossmodal("retrain", "--plain", "--data", str(manifest), *quick, "--set", f"name=m{number}")
        assert ran.status == 0, ran.err
        shapes = [
            fitted_columns(json.loads(path.read_text()))
            for path in Store(tmp_path / "store").root.glob("checkpoints/*/model.json")
        ]
        found.append(shapes)
    assert len(found[1]) == 2
    assert found[1][0] == found[1][1]
    assert found[0][0]["age"]["scale"] < 50
