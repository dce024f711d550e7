"""Incremental training through the command line: from the champion, again, and with new rows."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_a_champion_is_gone_on_from_once_there_is_something_new(
    crossmodal: Callable[..., Any], learnable: Path, tmp_path: Path
) -> None:
    arguments = (
        "--plain",
        "--data",
        str(learnable),
        "--set",
        "train.continue_from=champion",
        "--set",
        "train.replay=0.5",
    )
    first = crossmodal("retrain", *arguments)
    assert first.json["verdict"] == "promote", first.json["reason"]
    report = (tmp_path / "store" / first.json["report"]).read_text()
    assert "trained from scratch: there is no champion to continue from" in report

    again = crossmodal("retrain", *arguments)
    assert again.json["verdict"] == "unchanged"
    assert again.json["model"] == first.json["model"]
    assert {line["action"] for line in crossmodal("plan", *arguments[1:]).json["plan"]} == {"reuse"}

    rows = list(csv.DictReader(learnable.open(newline="")))
    test = next(row for row in rows if row["split"] == "test")
    train = [row for row in rows if row["split"] == "train"]
    rows += [
        row | {"id": f"new-{n}", "text": f"{row['text']}, once more {n}"} for n, row in enumerate([test, *train[:9]])
    ]
    with learnable.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    grown = crossmodal("retrain", *arguments, "--set", "split.near_duplicates=false")
    assert grown.status == 0, grown.err
    assert grown.json["model"]["sha256"] != first.json["model"]["sha256"]
    assert {name: part["rows"] for name, part in grown.json["forgetting"].items()} == {"old": 20, "new": 1}
    report = (tmp_path / "store" / grown.json["report"]).read_text()
    assert "<h2>Forgetting</h2>" in report
    assert "trained on 9 new rows and " in report
    assert "of the champion&#39;s own 80" in report
    assert "started from the champion: " in report
