"""`--mode`: what is refused, and what planning alone leaves; tests/deployments/test_server.py has the modes in a deployment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import main
from flows.plan import describe_plan


def ended(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    output = capsys.readouterr()
    return int(end.value.code or 0), output.out, output.err


def test_evaluate_only_needs_a_champion(learnable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "retrain",
        "--plain",
        "--mode",
        "evaluate only",
        "--data",
        str(learnable),
        "--store",
        str(tmp_path / "s"),
    ]
    code, _, err = ended(command, capsys)
    assert code == 2
    assert "there is no learnable@champion yet; run with mode 'full' first" in err
    assert not list((tmp_path / "s").glob("clean/*")), "it is said before anything is read"


def test_plan_only_is_the_plan_and_no_run(learnable: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", str(learnable), "--store", str(tmp_path / "s"), "--json"]
    _, planned, _ = ended(["plan", *command], capsys)
    code, out, _ = ended(["retrain", "--plain", "--mode", "plan only", *command], capsys)
    assert code == 0
    by_mode, by_plan = json.loads(out.splitlines()[-1]), json.loads(planned.splitlines()[-1])
    for answer in (by_mode, by_plan):  # other programs fill the disk between the two
        (disk,) = [check for check in answer["preflight"] if check["name"] == "disk"]
        disk["detail"] = disk["detail"].partition(" free in ")[2]
    assert by_mode == by_plan
    assert by_mode["data"] == str(learnable)
    assert not (tmp_path / "s" / "runs").exists()


def test_a_plan_is_one_sentence() -> None:
    train = {"stage": "train", "action": "compute", "count": 3, "seconds": None, "why": "at most so many epochs"}
    assert describe_plan([train | {"action": "reuse"}]) == "plan: nothing to compute, all of it is in the store"
    assert describe_plan([train]) == "plan: would compute train (at most so many epochs)"
