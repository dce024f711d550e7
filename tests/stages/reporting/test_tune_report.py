"""The page of a search: every trial is on it, in pictures and in the table, and nothing of it runs or loads anything."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from data_contracts.run_summary import InferenceSummary
from data_contracts.tuning import EvaluatedSettings, SearchedSetting, TrialRecord, TuneReport, Value
from tasks.reporting.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from tasks.reporting.tune_charts import course_picture, epochs_picture, pareto_pictures, setting_pictures
from tasks.reporting.tune_report import conclude, figure_rows, write_tune_page

COST = InferenceSummary(
    **{"row_ms": 1.2, "batch_ms": 3, "batch_rows": 32, "threads": 1, "device": "cpu"},
    **{"parameters": 5, "frozen_parameters": 2, "size_bytes": 4_000_000},
)
SETTINGS = (
    SearchedSetting(name="train.learning_rate", kind="float", low=3e-4, high=1e-2, log=True, before=0.002, best=0.004),
    SearchedSetting(name="fusion.dropout", kind="float", low=0, high=0.6, before=0.3, best=0.3),
    SearchedSetting(
        name="encoders.image", kind="categorical", choices=("tiny", "hf:<b>x</b>"), before="tiny", best="hf:<b>x</b>"
    ),
    SearchedSetting(name="train.augment", kind="categorical", choices=(False, True), before=True, best=True),
    SearchedSetting(name="extract.n_mels", kind="int", low=32, high=64, before=None, best=40),
)


def make(trials: int = 12, objectives: tuple[str, ...] = ("score",), **changed: Any) -> TuneReport:
    rng = random.Random(0)
    records = []
    for number in range(trials):
        settings: dict[str, Value] = {
            "train.learning_rate": 10 ** rng.uniform(-3.5, -2),
            "fusion.dropout": rng.uniform(0, 0.6),
            "encoders.image": rng.choice(["tiny", "hf:<b>x</b>"]),
            "train.augment": rng.choice([False, True]),
            "extract.n_mels": rng.randrange(32, 65),
        }
        values = (rng.uniform(0.7, 0.8), rng.uniform(1, 2), rng.uniform(3, 9))[: len(objectives)]
        complete = number % 4 != 3
        records.append(
            TrialRecord(
                number=number,
                state="complete" if complete else "pruned",
                settings=settings,
                values=values if complete else (),
                epochs=tuple(0.1 * n for n in range(1, 8 if complete else 4)) if len(objectives) == 1 else (),
                train_s=3.0,
            )
        )
    judged = {"test": {"accuracy": 0.8, "macro_f1": 0.79, "auroc": None}, "model_sha256": "a" * 64}
    cost = COST if len(objectives) > 1 else None
    fields: dict[str, Any] = {
        **{"run": "20261127-000000-a", "model": "<i>m</i>", "study": "m-1", "metric": "macro_f1"},
        **{"objectives": objectives, "pruner": "median", "sampler": "TPE", "seed": 0, "settings": SETTINGS},
        **{"trials": tuple(records), "pareto": (0, 4) if len(objectives) > 1 else (), "improved": True},
        "best": EvaluatedSettings(trial=4, validation={"macro_f1": 0.8}, inference=cost, **judged),
        "defaults": EvaluatedSettings(trial=0, validation={"macro_f1": 0.75}, inference=cost, **judged),
        **{"validation_rows": 100, "test_rows": 200, "epoch_metric": "accuracy", "profile": "m-tuned"},
        "test_difference": {"macro_f1": (0.01, -0.002, 0.022)},
    }
    return TuneReport(**fields | changed)


@pytest.mark.parametrize("objectives", [("score",), ("score", "latency_ms"), ("score", "latency_ms", "size_mb")])
def test_the_page_shows_every_trial_and_names_no_other_address(tmp_path: Path, objectives: tuple[str, ...]) -> None:
    path = tmp_path / "report.html"
    report = make(objectives=objectives)
    write_tune_page(path, report)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=|https?://|@import", page)
    assert "<b>x</b>" not in page
    assert "<i>m</i>" not in page
    rows = re.findall(r'<tr class="(?:chosen|quiet|)"><td class="n">(\d+)</td>', page)
    assert rows == [str(trial.number) for trial in report.trials]
    assert page.count("<title>trial") >= 9 * (1 + len(SETTINGS) + len(objectives) - 1)
    assert ("Pareto front" in page) == (len(objectives) > 1)
    assert "+0.0100 [−0.0020, +0.0220]" in page


@pytest.mark.parametrize("trials", [1, 2, 30])
def test_every_point_lies_in_its_picture(trials: int) -> None:
    best = EvaluatedSettings(trial=0, validation={"macro_f1": 0.8}, test={"macro_f1": 0.8}, model_sha256="a" * 64)
    for objectives in (("score",), ("score", "latency_ms", "size_mb")):
        report = make(trials, objectives, best=best, pareto=(0,) if len(objectives) > 1 else ())
        pictures = [course_picture(report), *setting_pictures(report), *pareto_pictures(report)]
        pictures += [picture for picture in [epochs_picture(report)] if picture]
        assert len(pareto_pictures(report)) == len(objectives) - 1
        for picture in pictures:
            for mark in picture["marks"]:
                assert LEFT - 0.1 <= mark["x"] <= WIDTH - RIGHT + 0.1, picture["name"]
                assert TOP - 0.1 <= mark["y"] <= HEIGHT - BOTTOM + 0.1, picture["name"]


def test_the_best_and_the_settings_as_they_were_stand_out_in_every_picture() -> None:
    for picture in setting_pictures(make()):
        assert sorted(mark["tone"] for mark in picture["marks"])[:2] == ["before", "best"]


def test_a_figure_that_is_not_defined_is_left_out_and_the_score_comes_first() -> None:
    assert [row[0] for row in figure_rows(make())] == ["Macro F1", "Accuracy"]


@pytest.mark.parametrize(
    ("metric", "difference", "title", "said"),
    [
        ("macro_f1", (0.02, 0.004, 0.04), "Better settings found", "better there, too"),
        ("macro_f1", (0.01, -0.002, 0.022), "Better on the validation rows", "no gain is shown"),
        ("macro_f1", (-0.02, -0.04, -0.001), "Better on the validation rows only", "fitted the validation rows"),
        ("log_loss", (-0.02, -0.04, -0.001), "Better settings found", "better there, too"),
        ("log_loss", (0.02, 0.001, 0.04), "Better on the validation rows only", "fitted the validation rows"),
    ],
)
def test_the_heading_is_true_to_the_interval_on_the_test_rows(
    metric: str, difference: tuple[float, float, float], title: str, said: str
) -> None:
    found = conclude(make(metric=metric, test_difference={metric: difference}))
    assert found[0] == title
    assert said in found[2]


def test_where_nothing_is_better_the_page_says_so(tmp_path: Path) -> None:
    write_tune_page(tmp_path / "report.html", make(improved=False, profile=None, stopped="tune.max_train_s = 5"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "None of 12 trials has a better macro F1" in page
    assert "Stopped by tune.max_train_s = 5" in page
    assert "retrain --profile" not in page
