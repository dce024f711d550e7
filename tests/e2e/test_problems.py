"""Every problem through the command line: trained, evaluated, published, predicted with."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.data import write_manifest

Crossmodal = Callable[..., Any]


def relabel(manifest: Path, answer: Callable[[int, str], dict[str, str]]) -> None:
    """Replaces the label column by what `answer` gives for a row's number and its label."""
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    changed = [
        {**{key: row[key] for key in row if key != "label"}, **answer(number, row["label"])}
        for number, row in enumerate(rows)
    ]
    write_manifest(manifest, changed)


def without(manifest: Path, columns: tuple[str, ...]) -> Path:
    """The same manifest beside it, without these columns."""
    with manifest.open(newline="") as file:
        rows = [{key: row[key] for key in row if key not in columns} for row in csv.DictReader(file)]
    return write_manifest(manifest.with_name("bare.csv"), rows)


def monitored(
    crossmodal: Crossmodal, manifest: Path, change: Callable[[dict[str, str]], dict[str, str]]
) -> dict[str, dict[str, Any]]:
    """The tests of `crossmodal monitor`, by name, on the same rows under other ids, each changed."""
    with manifest.open(newline="") as file:
        rows = [change(row) | {"id": f"new {row['id']}"} for row in csv.DictReader(file)]
    ran = crossmodal("monitor", str(write_manifest(manifest.with_name("new.csv"), rows)))
    assert ran.status == 0, ran.err
    tests = {test["name"]: test for test in ran.json["tests"]}
    assert ran.json["compared"] == len(rows)
    assert ran.json["finding"] == ("drift" if any(test["drifted"] for test in tests.values()) else "no drift")
    return tests


def drifted(tests: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, test in tests.items() if test["drifted"]}


def predicted(crossmodal: Crossmodal, manifest: Path, tmp_path: Path, *flags: str) -> tuple[Any, list[dict[str, Any]]]:
    ran = crossmodal("predict", str(manifest), "--out", str(tmp_path / "predictions.parquet"), *flags)
    assert ran.status == 0, ran.err
    return ran, pq.read_table(tmp_path / "predictions.parquet").to_pylist()


def report_of(ran: Any, tmp_path: Path) -> str:
    return (tmp_path / "store" / "runs" / ran.json["run"] / "report.html").read_text()


def test_numbers(crossmodal: Crossmodal, learnable: Path, tmp_path: Path) -> None:
    relabel(learnable, lambda number, label: {"label": str(1000 + 50 * (label == "high") + number % 5)})
    ran = crossmodal("retrain", "--plain", "--data", str(learnable), "--set", "data.problem=regression")
    assert ran.status == 0, ran.err
    assert ran.json["verdict"] == "promote", ran.json["reason"]
    assert set(ran.json["metrics"]["test"]) == {"mae", "rmse", "r2"}
    assert ran.json["metrics"]["test"]["mae"] < 12
    assert set(ran.json["by_modalities"]["image"]) == {"mae", "rmse", "r2"}
    page = report_of(ran, tmp_path)
    assert "Predicted and true numbers" in page
    assert "Largest errors" in page
    found, rows = predicted(crossmodal, learnable, tmp_path)
    assert found.json["metrics"]["labelled"]["mae"] < 12
    assert all(row["probability"] is None and float(row["predicted"]) > 900 for row in rows)
    same = monitored(crossmodal, learnable, dict)
    assert drifted(same) == set(), "nothing has changed"
    assert {"label", "prediction", "image embedding"} <= set(same)
    assert "confidence" not in same, "a number has none"
    assert same["label"]["method"] == same["prediction"]["method"] == "kolmogorov-smirnov"
    moved = monitored(crossmodal, learnable, lambda row: row | {"label": str(float(row["label"]) + 30)})
    assert drifted(moved) == {"label"}
    assert moved["label"]["before"] != moved["label"]["after"]
    bare = monitored(crossmodal, learnable, lambda row: {key: row[key] for key in row if key != "label"})
    assert ("label" in bare, "prediction" in bare) == (False, True)
    again = crossmodal("retrain", "--plain", "--data", str(learnable), "--set", "data.problem=regression")
    assert again.json["verdict"] == "unchanged"
    few = ("--set", "gate.min_rows=20")  # all the test rows that there are
    seeded = crossmodal(
        "retrain", "--plain", "--data", str(learnable), "--set", "data.problem=regression", "--set", "seed=1", *few
    )
    assert seeded.status == 0, seeded.err
    assert "mae" in seeded.json["reason"]
    other = crossmodal("retrain", "--plain", "--data", str(learnable), "--set", "data.problem=multilabel")
    assert other.status == 2
    assert "the champion is of data.problem=regression" in other.err


def test_label_sets(crossmodal: Crossmodal, learnable: Path, tmp_path: Path) -> None:
    def sets(number: int, label: str) -> dict[str, str]:
        return {"label": {"low": "low|tone", "high": '["tone"]' if number % 4 else "[]"}[label]}

    relabel(learnable, sets)
    ran = crossmodal(
        "retrain", "--plain", "--data", str(learnable), "--set", "data.problem=multilabel",
        "--set", "train.tune_thresholds=true", "--set", "train.class_balance=class-weights",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert ran.json["verdict"] == "promote", ran.json["reason"]
    figures = ran.json["metrics"]["test"]
    assert set(figures) == {
        "exact_match",
        "micro_f1",
        "macro_f1",
        "macro_recall",
        "macro_precision",
        "mean_ap",
        "brier",
        "log_loss",
    }
    assert figures["micro_f1"] > 0.8
    page = report_of(ran, tmp_path)
    assert "Precision over recall" in page
    assert "Per label" in page
    found, rows = predicted(crossmodal, learnable, tmp_path)
    assert "exact_match" in found.json["metrics"]["labelled"]
    assert {row["predicted"] for row in rows} <= {"low|tone", "tone", "low", "[]"}
    assert len(rows[0]["probabilities"]) == 2
    same = monitored(crossmodal, learnable, dict)
    assert drifted(same) == set(), "nothing has changed"
    assert {"label", "prediction", "confidence"} <= set(same)
    fewer = monitored(crossmodal, learnable, lambda row: row | {"label": row["label"].replace("low|tone", "low")})
    assert drifted(fewer) == {"label"}
    assert fewer["label"]["after"] != fewer["label"]["before"]


def test_several_label_columns(crossmodal: Crossmodal, learnable: Path, tmp_path: Path) -> None:
    def columns(number: int, label: str) -> dict[str, str]:
        size = "" if number % 7 == 3 else str(5.0 + 2 * (label == "high"))
        return {"tone": label, "size": size, "traits": "loud|long" if label == "high" else "long"}

    relabel(learnable, columns)
    labels_setting = 'data.columns.labels=["tone", "size:regression", "traits:multilabel"]'
    ran = crossmodal("retrain", "--plain", "--data", str(learnable), "--set", labels_setting)
    assert ran.status == 0, ran.err
    assert ran.json["verdict"] == "promote", ran.json["reason"]
    assert set(ran.json["metrics"]) == {"test", "size", "traits"}
    assert ran.json["metrics"]["size"]["mae"] < 1
    assert ran.json["metrics"]["traits"]["micro_f1"] > 0.8
    page = report_of(ran, tmp_path)
    assert "Label column size" in page
    known, rows = map(int, re.findall(r"On (\d+) of (\d+) test rows", page)[0])
    assert 0 < known < rows == ran.json["splits"]["test"]
    message, answers = predicted(crossmodal, learnable, tmp_path, "--set", labels_setting)
    assert message.json["metrics"]["labelled"]["accuracy"] > 0.8
    assert {row["label"] for row in answers} == {"low", "high"}
    others = json.loads(answers[0]["targets"])
    assert set(others) == {"size", "traits"}
    assert float(others["size"]) > 3
    assert len(answers[0]["probabilities"]) == 2 + 1 + 2
    for left_out, labelled in ((("tone", "size", "traits"), 0), (("size",), message.json["labelled"])):
        bare, again = predicted(crossmodal, without(learnable, left_out), tmp_path, "--set", labels_setting)
        assert [row["predicted"] for row in again] == [row["predicted"] for row in answers]
        assert bare.json["labelled"] == labelled
        assert ("accuracy" in bare.json["metrics"].get("labelled", {})) == bool(labelled)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("data.problem=regression", "train.class_balance=sampler"), "train.class_balance"),
        (("data.problem=regression", "gate.metric=accuracy"), "gate.metric: accuracy is no figure of a regression"),
        (('data.columns.labels=["label"]', "data.columns.label=label"), "both given"),
        (('data.columns.labels=["label", "nothing"]',), "no such column"),
        (('data.columns.labels=["label", "label:regression"]',), "a column is named twice"),
        (('data.columns.labels=["label", "test"]',), "cannot be called 'test'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    crossmodal: Crossmodal, learnable: Path, settings: tuple[str, ...], message: str
) -> None:
    relabel(learnable, lambda number, label: {"label": str(number)})
    flags = [part for setting in settings for part in ("--set", setting)]
    ran = crossmodal("retrain", "--plain", "--data", str(learnable), *flags)
    assert ran.status == 2, ran.err
    assert message in ran.err
