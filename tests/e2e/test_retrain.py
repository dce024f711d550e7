"""The whole pipeline through the command line, in one process: publish, do nothing, do just what is needed."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli import main
from tasks.evaluate import evaluate as evaluate_module
from tests.support.data import SMALL, write_learnable

Crossmodal = Callable[..., Any]
SUMMARY_KEYS = {
    "run", "flow", "data", "verdict", "reason", "model", "rows", "splits", "metrics", "by_modalities", "work",
    "seconds", "report", "read", "intervals", "rules", "test_uses", "inference", "classical",
}  # fmt: skip


def edit(manifest: Path, change: Callable[[list[dict[str, str]]], Any]) -> None:
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def computed(ran: Any) -> dict[str, int]:
    counts: dict[str, int] = ran.json["work"]["computed"]
    return counts


@pytest.fixture(scope="module")
def published_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which a model of the learnable data is champion."""
    folder = tmp_path_factory.mktemp("published")
    manifest, store = write_learnable(folder / "learnable"), folder / "store"
    settings = [part for value in SMALL for part in ("--set", value)]
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(SystemExit) as stop:
            main(["retrain", "--plain", "--data", str(manifest), *settings, "--store", str(store)])
    assert stop.value.code == 0
    (summary,) = store.glob("runs/*/summary.json")
    assert json.loads(summary.read_text())["verdict"] == "promote"
    return store


@pytest.fixture
def published(published_once: Path, learnable: Path, tmp_path: Path) -> Path:
    """The learnable data, and in the test's store a champion of them, which the test may change."""
    subprocess.run(["cp", "-a", f"{published_once}/.", tmp_path / "store"], check=True)  # hard links stay hard links
    return learnable


def test_first_run_publishes_second_does_nothing_later_ones_do_what_is_needed(
    crossmodal: Crossmodal, learnable: Path, repaint: Callable[[Path], None], tmp_path: Path
) -> None:
    arguments = ("--plain", "--data", str(learnable), "--set", "evaluate.classical_rows=20000")
    first = crossmodal("retrain", *arguments)
    assert first.status == 0, first.err
    assert set(first.json) - {"notes"} == SUMMARY_KEYS  # notes: where there is something to know
    assert first.json["verdict"] == "promote", first.json["reason"]
    assert first.json["rows"] == {"in": 120, "used": 120, "quarantined": 0, "duplicates": 0}
    assert first.json["splits"] == {"train": 80, "val": 20, "test": 20}
    assert computed(first) == {"image": 120, "text": 120, "audio": 120}
    assert {"image", "text", "audio", "image+text+audio"} <= set(first.json["by_modalities"])
    assert first.json["model"] | {"sha256": ""} == {
        "name": "learnable",
        "version": "1",
        "alias": "champion",
        "sha256": "",
    }
    folder = tmp_path / "store" / "runs" / first.json["run"]
    assert json.loads((folder / "summary.json").read_text()) == first.json
    assert {"report.html", "quarantine.csv", "quarantine.parquet"} <= {path.name for path in folder.iterdir()}
    report = (folder / "report.html").read_text()
    for table in ("manifest", "samples", "features", "predictions"):
        assert (folder / "docs" / table / "index.html").is_file()
        assert f'href="docs/{table}/index.html"' in report

    again = crossmodal("retrain", *arguments)
    assert again.json["verdict"] == "unchanged"
    assert again.json["model"] == first.json["model"]
    assert computed(again) == {"image": 0, "text": 0, "audio": 0}
    assert again.json["metrics"] == first.json["metrics"]

    def relabel_a_test_row(rows: list[dict[str, str]]) -> None:
        rows[0]["label"] = "high"

    edit(learnable, relabel_a_test_row)
    relabelled = crossmodal("retrain", *arguments)
    assert relabelled.json["verdict"] == "unchanged", "the same weights, evaluated on other rows"
    assert computed(relabelled) == {"image": 0, "text": 0, "audio": 0}
    assert relabelled.json["metrics"]["test"]["accuracy"] != first.json["metrics"]["test"]["accuracy"]

    repaint(learnable.parent / "img/50.png")
    replaced = crossmodal("retrain", *arguments)
    assert computed(replaced) == {"image": 1, "text": 0, "audio": 0}
    assert replaced.json["model"]["sha256"] != first.json["model"]["sha256"]

    edit(learnable, lambda rows: rows.append(rows[60] | {"id": "new", "text": "it is low, once more"}))
    added = crossmodal("retrain", *arguments)
    assert added.json["rows"]["used"] == 121
    assert computed(added) == {"image": 0, "text": 1, "audio": 0}


def test_predictions_that_break_their_contract_stop_the_run_before_the_gate(
    crossmodal: Crossmodal, learnable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = evaluate_module.predictions_table

    def double(*arguments: Any) -> pa.Table:
        table = make(*arguments)
        doubled = pa.array([[2 * value for value in row] for row in table["probabilities"].to_pylist()])
        place = table.column_names.index("probabilities")
        field = table.schema.field(place)
        return table.set_column(place, field, doubled.cast(field.type))

    monkeypatch.setattr(evaluate_module, "predictions_table", double)
    ran = crossmodal("retrain", "--plain", "--data", str(learnable))
    assert ran.status == 3
    assert "predictions: expectation probabilities_at_most_1 (" in ran.json["error"]
    assert "broken by 20 of 20 rows, for example s000, s001, s002, s003, s004" in ran.json["error"]
    assert ran.json["verdict"] is None
    assert not list((tmp_path / "store").glob("verdicts/*"))


def test_a_published_model_predicts_any_subset_of_modalities(
    crossmodal: Crossmodal, published: Path, tmp_path: Path
) -> None:
    def hide(rows: list[dict[str, str]]) -> None:
        del rows[9:]
        for number, row in enumerate(rows):
            for name in ("image", "text", "audio"):
                row[name] = row[name] if name == ("image", "text", "audio")[number % 3] else ""
            row["label"] = ""
        rows[8]["image"] = "img/none.png"
        rows[8]["audio"] = ""

    edit(published, hide)
    out = tmp_path / "p.parquet"
    ran = crossmodal("predict", str(published), "--out", str(out))
    assert ran.status == 0, ran.err
    assert ran.json["rows"] == {"in": 9, "used": 8, "quarantined": 1, "duplicates": 0}
    table = pq.read_table(out)
    assert table["row"].to_pylist() == list(range(9))
    assert table["reason"].to_pylist() == [None] * 8 + ["missing-file"]
    assert set(table["modalities"].to_pylist()[:8]) == {"image", "text", "audio"}
    assert np.allclose([sum(row) for row in table["probabilities"].to_pylist()[:8]], 1.0, atol=1e-5)
    assert table["predicted"].to_pylist()[8] is None
    assert json.loads(table.schema.metadata[b"crossmodal.labels"]) == ["high", "low"]
    assert table["label"].null_count == 9
    import crossmodal as library

    model = library.load("learnable@champion", store=tmp_path / "store")
    frame = model.predict(published, columns=["image", "split"], out=tmp_path / "p.jsonl")
    assert [*frame["predicted"][:8], None] == table["predicted"].to_pylist()
    with published.open(newline="") as file:
        assert frame["image"].tolist() == [row["image"] for row in csv.DictReader(file)]
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == frame["id"].tolist() == table["id"].to_pylist()
    unknown = crossmodal("predict", str(published), "--columns", "imag", "--out", str(tmp_path / "q.csv"))
    assert (unknown.status, "did you mean 'image'?" in unknown.err) == (2, True)
    assert not (tmp_path / "q.csv").exists()
    listed = crossmodal("models list", small=False)
    assert [entry["name"] for entry in listed.json] == ["learnable"]


def test_plan_tells_what_would_be_computed_and_computes_nothing(
    crossmodal: Crossmodal, published_once: Path, request: pytest.FixtureRequest
) -> None:
    manifest = published_once.parent / "learnable" / "manifest.csv"  # that the champion was trained on, where it was
    before = crossmodal("plan", "--data", str(manifest))
    assert {(line["stage"], line["count"]) for line in before.json["plan"] if line["stage"].startswith("decode")} == {
        ("decode image", 120),
        ("decode text", 120),
        ("decode audio", 120),
    }
    request.getfixturevalue("published")
    after = crossmodal("plan", "--data", str(manifest))
    assert {line["action"] for line in after.json["plan"]} == {"reuse"}


def test_check_reads_without_training_and_notes_why_it_could_not_be_trained(
    crossmodal: Crossmodal, learnable: Path, tmp_path: Path
) -> None:
    edit(learnable, lambda rows: [row.update(split="train") for row in rows])
    checked = crossmodal("check", str(learnable))
    assert checked.status == 0
    assert checked.json["verdict"] is None
    assert checked.json["rows"]["used"] == 120
    assert "not trainable: test" in checked.err
    assert not (tmp_path / "store" / "checkpoints").exists()
    retrained = crossmodal("retrain", "--plain", "--data", str(learnable))
    assert retrained.status == 3
    assert "test" in retrained.json["error"]


def test_a_damaged_artifact_is_computed_anew(crossmodal: Crossmodal, published: Path, tmp_path: Path) -> None:
    (summary,) = (tmp_path / "store").glob("runs/*/summary.json")
    model = json.loads(summary.read_text())["model"]
    part = next((tmp_path / "store" / "features" / "image").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    weights = next((tmp_path / "store" / "checkpoints").rglob("model.safetensors"))
    weights.chmod(0o600)
    with weights.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\1\2\3")
    again = crossmodal("retrain", "--plain", "--data", str(published))
    assert again.json["verdict"] == "unchanged"
    [note] = [note for note in again.json["notes"] if note.startswith("store: ")]
    # a part, the checkpoint, and the champion, whose weights are the same file: it comes back from the registry
    assert "3 results were damaged" in note
    assert f"checkpoints/{weights.parent.name}" in note
    assert computed(again)["image"] == 120
    assert again.json["model"]["sha256"] == model["sha256"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--data", "nowhere.csv"], 2, "nowhere.csv"),
        (["--profile", "nothing"], 2, "profile: 'nothing' is not one of"),
        (["--set", "train.epoch=3"], 2, "did you mean 'train.epochs'"),
        (["--set", "train.epochs=many"], 2, "'many'"),
        (["--set", "epochs"], 2, "KEY=VALUE"),
        (["--frobnicate"], 2, "--frobnicate"),
        (["--set", "data.columns.label=species"], 2, "species"),
        (["--set", "name=../../x"], 2, "../../x"),
        (["--store", "/proc/nothing"], 4, "store"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_status(
    crossmodal: Crossmodal, learnable: Path, arguments: list[str], status: int, message: str
) -> None:
    source = [] if {"--data", "--profile"} & set(arguments) else ["--data", str(learnable)]
    if "--store" in arguments:
        with pytest.raises(SystemExit) as stop:
            main(["retrain", "--plain", *source, *arguments])
        assert stop.value.code == status
        return
    ran = crossmodal("retrain", "--plain", *source, *arguments)
    assert ran.status == status
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    assert message in ran.json["error"]


def test_too_many_bad_rows_stop_the_run_before_training_and_are_all_listed(
    crossmodal: Crossmodal, learnable: Path, tmp_path: Path
) -> None:
    for number in range(40, 60):
        (learnable.parent / f"img/{number}.png").write_bytes(b"not a picture")
    ran = crossmodal("retrain", "--plain", "--data", str(learnable))
    assert ran.status == 3
    assert ran.json["rows"] == {"in": 120, "used": 100, "quarantined": 20, "duplicates": 0}
    listing = tmp_path / "store" / "runs" / ran.json["run"] / "quarantine.csv"
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows] == ["unreadable-image"] * 20
    assert (listing.parent / "report.html").exists()
    allowed = crossmodal("retrain", "--plain", "--data", str(learnable), "--set", "data.max_quarantined=0.2")
    assert allowed.status == 0
    assert allowed.json["splits"]["train"] == 60


def test_rows_that_leak_are_left_out_of_train_and_listed(
    crossmodal: Crossmodal, learnable: Path, tmp_path: Path
) -> None:
    edit(learnable, lambda rows: rows.append(rows[0] | {"id": "repeat", "split": "train"}))
    ran = crossmodal("check", str(learnable), "--set", "split.leakage=drop")
    assert ran.status == 0
    assert ran.json["rows"] == {"in": 121, "used": 120, "quarantined": 1, "duplicates": 0}
    assert sum(ran.json["splits"].values()) == 120
    with (tmp_path / "store" / "runs" / ran.json["run"] / "quarantine.csv").open(newline="") as file:
        assert [(row["id"], row["reason"]) for row in csv.DictReader(file)] == [("repeat", "leaked")]


def test_a_champion_that_new_rules_fail_is_told_once_and_stays(crossmodal: Crossmodal, published: Path) -> None:
    harder = ("--plain", "--data", str(published), "--set", 'gate.rules=[{"metric": "accuracy", "min": 1.5}]')
    refused = crossmodal("retrain", *harder)
    assert refused.json["verdict"] == "reject"
    assert "version 1 is champion and no longer passes the gate" in refused.json["reason"]
    again = crossmodal("retrain", *harder)
    assert again.json["verdict"] == "unchanged"
    assert "no longer passes the gate" in again.json["reason"]
    assert crossmodal("models list", small=False).json[0]["champion"] == "1"


def test_a_prediction_that_fails_leaves_its_summary_and_the_listing(
    crossmodal: Crossmodal, published: Path, tmp_path: Path
) -> None:
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "a.png").write_bytes(b"junk")
    (tmp_path / "junk" / "manifest.csv").write_text("id,image\na,a.png\n")
    ran = crossmodal("predict", str(tmp_path / "junk" / "manifest.csv"), "--out", str(tmp_path / "p.parquet"))
    assert ran.status == 3
    assert ran.json["rows"] == {"in": 1, "used": 0, "quarantined": 1, "duplicates": 0}
    folder = tmp_path / "store" / "runs" / ran.json["run"]
    assert json.loads((folder / "summary.json").read_text())["error"] == ran.json["error"]
    assert "unreadable-image" in (folder / "quarantine.csv").read_text()
    assert not (tmp_path / "p.parquet").exists()
