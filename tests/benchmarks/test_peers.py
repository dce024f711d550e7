"""Contestants on the same rows: the table, what is said of the goal, and AutoMM's row where its environment cannot be made."""

import csv
import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contestants.automm_env import REQUIREMENTS, make_environment
from benchmarks.contestants.exchange import Answers
from benchmarks.contestants.rows import write_tables
from benchmarks.measure import Timing
from benchmarks.peers import AUTOMM, HEADER, Result, compare, difference, goal, line, parse, score
from tasks.errors import UsageError
from tests.support.pretrained import write_bert

TRUTH = ["cat", "dog"] * 50


def result(wrong: int, wall_s: float) -> Result:
    """Answers of which the first few are wrong."""
    predicted = [*(["bird"] * wrong), *TRUTH[wrong:]]
    answers = Answers(predicted=predicted, row_ms=12.3, batch_rows_per_s=45.6, bytes=7_800_000)
    return Result(Timing(wall_s, wall_s / 2, "{}"), answers, score(TRUTH, predicted))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Sentences that name their class, 20 of each split and class; one row lacks its text."""
    draw = random.Random(0)
    target = tmp_path / "manifest.csv"
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "split"])
        for split in ("train", "val", "test"):
            for n in range(20):
                for label in ("cat", "dog"):
                    writer.writerow([f"{split}-{label}-{n}", f"the {label} {draw.random():.6f}", label, split])
        writer.writerow(["empty", "", "cat", "train"])
    return target


@pytest.fixture
def broken_env(tmp_path: Path) -> Path:
    """An environment without pip, in which nothing can be installed."""
    folder = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def test_a_row_shows_accuracy_difference_and_costs():
    ours, other = result(5, 10), result(20, 200)
    assert line("ours", ours, ours) == "| ours | 95.0 % (88.8 to 97.8) |  | 10 | 5 | 12 | 45.6 | 7.8 |"
    value, low, high = difference(ours, other)
    assert value == pytest.approx(15)
    assert 0 < low < 15 < high
    shown = line("other", other, ours)
    assert shown.startswith("| other | 80.0 % (71.1 to 86.7) | +15.0 (+")
    assert shown.count("|") == line("other", "skipped: why", ours).count("|") == HEADER.splitlines()[0].count("|")


def test_the_goal_is_accuracy_and_fit_time():
    met = goal("head", {"ours": result(5, 10), AUTOMM: result(6, 100)})
    assert "within the interval: as demanded" in met
    assert "0.10 x AutoMM's fit time (0.10 x its CPU): as demanded" in met
    missed = goal("full", {"ours": result(30, 60), "hf": result(0, 1), AUTOMM: result(30, 100)})
    assert "behind HF Trainer, full: NOT as demanded" in missed
    assert "0.60 x AutoMM's fit time (0.60 x its CPU): NOT as demanded (at most 0.5)" in missed
    assert "no fit time of AutoMM" in goal("head", {"ours": result(5, 10)})


def test_tables_hold_complete_rows_of_each_split_the_same_each_time(manifest: Path, tmp_path: Path):
    most = {"train": 40, "val": 6, "test": 8}
    found = []
    for name in "ab":
        folder = tmp_path / name
        folder.mkdir()
        tables, inputs = write_tables(manifest, tmp_path, {"text": "bert"}, most, folder)
        assert inputs == {"text": "bert"}
        found.append({split: Path(table).read_text() for split, table in tables.items()})
    assert found[0] == found[1]
    assert {split: len(text.splitlines()) - 1 for split, text in found[0].items()} == most
    rows = list(csv.DictReader(found[0]["train"].splitlines()))
    assert all(row["id"].startswith(f"train-{row['label']}") and row["label"] in row["text"] for row in rows)


def test_an_input_that_no_contestant_reads_is_refused(manifest: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="no contestant reads text; known are image"):
        write_tables(manifest, tmp_path, {"image": "somewhere"}, {"train": 4}, tmp_path)


def test_a_backbone_that_is_not_there_is_named(manifest: Path, tmp_path: Path):
    options = parse(["--data", str(manifest), "--text", str(tmp_path / "gone"), "--contestants", "sklearn"])
    with pytest.raises(UsageError, match=r"--text '.*gone': has no config.json"):
        compare(options, tmp_path)


def test_an_environment_that_cannot_be_made_says_why(broken_env: Path):
    reason = make_environment(broken_env)
    assert isinstance(reason, str)
    assert reason.startswith(f"pip install {REQUIREMENTS[0]}")
    assert reason.endswith("No module named pip")
    assert "--peer-env" in str(make_environment(None))


@pytest.mark.slow
def test_scikit_learn_runs_and_automm_is_skipped(manifest: Path, tmp_path: Path, broken_env: Path, capsys):
    bert = write_bert(tmp_path / "bert")
    options = parse(["--data", str(manifest), "--text", str(bert), "--contestants", "sklearn,automm", "--threads", "1"])
    options.peer_env, options.one_row_calls = broken_env, 2
    compare(options, tmp_path)
    shown = capsys.readouterr().out
    assert "40 train, 40 val, 40 test rows; text bert" in shown
    fitted, skipped = (row.split("|") for row in shown.splitlines() if row.startswith(("| scikit", "| AutoMM")))
    assert "%" in fitted[2]
    assert float(fitted[4]) > 0
    assert float(fitted[6]) > 0
    assert skipped[2].strip().startswith("skipped: pip install")


def test_what_is_constant_on_the_train_rows_is_not_blown_up_on_others():
    import torch

    from benchmarks.contestants.hf_trainer import Classifier

    model = Classifier(2, 3, None)
    model.standardise_by(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    changed = (torch.tensor([[0.1, 2.0]]) - model.mean) / model.std
    assert changed.abs().max() < 100
