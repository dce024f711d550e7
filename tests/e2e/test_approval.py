"""Approval through the command line: a candidate waits, is listed, approved, and another one rejected."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

Crossmodal = Callable[..., Any]
ASKING = ("--set", "gate.approval=required")
FEW = ("--set", "gate.min_rows=20")  # all the test rows that there are


@pytest.mark.slow
def test_approval_end_to_end_and_what_mlflow_knows_of_it(
    crossmodal: Crossmodal, learnable: Path, repaint: Callable[[Path], None], tmp_path: Path
) -> None:
    arguments = ("--plain", "--data", str(learnable), *ASKING)
    first = crossmodal("retrain", *arguments)
    assert (first.status, first.json["verdict"]) == (0, "needs-approval"), first.err
    assert "crossmodal models promote learnable 1 --reason" in first.json["reason"]
    assert first.json["model"]["alias"] == "challenger"
    (waiting,) = crossmodal("models pending", small=False).json
    assert (waiting["version"], waiting["state"]) == ("1", "pending")
    unconfirmed = crossmodal("models promote", "learnable", "1", small=False)
    assert (unconfirmed.status, "--reason" in unconfirmed.err) == (2, True)
    approved = crossmodal("models promote", "learnable", "1", "--reason", "as agreed", small=False)
    assert approved.status == 0, approved.err
    assert crossmodal("models list", small=False).json[0]["champion"] == "1"
    (move,) = crossmodal("models history", "learnable", small=False).json
    assert move["reason"] == "as agreed"
    assert move["by"]
    verdict, waits, promoted = crossmodal("models journal", "learnable", small=False).json
    assert [entry["event"] for entry in (verdict, waits, promoted)] == ["verdict", "pending", "promote"]
    assert verdict["decision"] == "promote"
    assert verdict["evidence"]["model"] == promoted["evidence"]["model"] == first.json["model"]["sha256"]
    (then,) = crossmodal("models at", promoted["at"], small=False).json
    assert (then["version"], then["reason"]) == ("1", "as agreed")
    assert crossmodal("models at", "2026-01-01", small=False).json == []
    assert crossmodal("retrain", *arguments).json["verdict"] == "unchanged"

    repaint(learnable.parent / "img/50.png")
    second = crossmodal("retrain", *arguments, "--set", "gate.rules=[]", "--set", "gate.margin=1", *FEW)
    assert second.json["verdict"] == "needs-approval", second.json["reason"]
    assert crossmodal("models reject", "learnable", "2", "--reason", "no", small=False).status == 0
    refused = crossmodal("models reject", "learnable", "2", "--reason", "no", small=False)
    assert (refused.status, "does not wait for approval" in refused.err) == (5, True)
    assert crossmodal("models list", small=False).json[0]["champion"] == "1"

    for number in range(40, 60):
        (learnable.parent / f"img/{number}.png").write_bytes(b"not a picture")
    assert crossmodal("retrain", *arguments).status == 3
    uri = f"sqlite:///{tmp_path}/store/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name("learnable").experiment_id])
    verdicts = sorted(run.data.tags["verdict"] for run in runs)  # a run's start is known to the second: no order
    assert verdicts == ["failed", "needs-approval", "needs-approval", "unchanged"]
    (failed,) = (run for run in runs if run.data.tags["verdict"] == "failed")
    assert "of 120 rows" in failed.data.tags["error"]
    assert [run.info.status for run in runs if run is not failed] == ["FINISHED"] * 3
    assert failed.info.status == "FAILED"


def test_loading_a_published_model_needs_neither_mlflow_nor_torch(
    crossmodal: Crossmodal, learnable: Path, tmp_path: Path
) -> None:
    assert crossmodal("retrain", "--plain", "--data", str(learnable)).json["verdict"] == "promote"
    code = (
        "import sys, crossmodal; crossmodal.load('learnable', store=sys.argv[1]);"
        "print(sorted({'mlflow', 'torch', 'pandas', 'sklearn', 'transformers', 'sqlalchemy', 'prefect'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_message_names_a_profile_only_where_there_is_one(crossmodal: Crossmodal, learnable: Path) -> None:
    ran = crossmodal("retrain", "--plain", "--data", str(learnable), "--set", "train.epochs=many")
    assert "(from --set train.epochs=many)" in ran.err, "the last of two on one key counts"
    assert "None" not in ran.err
