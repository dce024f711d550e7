"""What each modality contributes: a bar for each set of modalities, by the first headline metric of whatever problem."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_contracts.refs import EvalReport
from data_contracts.run_summary import RunSummary
from tasks.reporting.report import write_report
from tasks.reporting.sections import modality_chart
from tasks.store import digest_json

SHA = digest_json("model")


def report_of(problem: str, by_modalities: dict[str, dict[str, float | None]], **changes: Any) -> EvalReport:
    return EvalReport(
        uri="evaluations/r", sha256=SHA, rows=9, model_sha256=SHA, metrics={"test": {}}, intervals={},
        majority_share=None, problem=problem, by_modalities=by_modalities, **changes,
    )  # fmt: skip


def test_errors_share_the_track_of_the_largest() -> None:
    figures = {"image+text": {"mae": 2.0, "r2": 0.5}, "text": {"mae": 4.0, "r2": -0.5}, "image": {"mae": None}}
    chart = modality_chart(report_of("regression", figures, baselines={"mae": 5.0, "r2": 0.0}))
    assert chart is not None
    assert (chart.metric.name, chart.second.name, chart.constant, chart.place) == ("mae", "r2", 5.0, 1.0)
    assert [tuple(bar) for bar in chart.bars] == [
        ("image", None, None, 0.0, False),
        ("text", 4.0, -0.5, 0.8, False),
        ("image+text", 2.0, 0.5, 0.4, True),
    ]


def test_shares_have_the_track_of_all() -> None:
    sets = report_of("multilabel", {"image": {"exact_match": 0.25, "macro_f1": 0.5}}, baselines={"mean_ap": 0.3})
    chart = modality_chart(sets)
    assert chart is not None
    assert (chart.metric.name, chart.constant, chart.bars[0].length) == ("exact_match", None, 0.25)
    classes = report_of("multiclass", {"image": {"accuracy": 0.5}}, baselines={"accuracy": 0.2})
    chart = modality_chart(classes)
    assert chart is not None
    assert (chart.metric.name, chart.constant, chart.place, chart.bars[0].length) == ("accuracy", 0.2, 0.2, 0.5)


def test_without_figures_there_is_no_chart() -> None:
    assert modality_chart(None) is None
    assert modality_chart(report_of("regression", {})) is None


@pytest.mark.parametrize(
    ("problem", "figures", "message"),
    [
        (
            "regression",
            {"mae": 1.5, "rmse": 2.0, "r2": 0.25},
            "Mean absolute error (lower is better) of the same model",
        ),
        ("multilabel", {"exact_match": 0.5, "macro_f1": 0.75}, "Exact match of the same model"),
    ],
)
def test_the_page_draws_it(
    make_run: Callable[..., Any], tmp_path: Path, problem: str, figures: dict[str, float], message: str
) -> None:
    run = make_run(("a", "b"))
    run.parts.report = report_of(problem, {"image": figures, "image+text": figures}, baselines={"mae": 3.0})
    path = tmp_path / "report.html"
    write_report(path, RunSummary.model_validate(run.summary), run.config, run.store, run.parts)
    page = path.read_text()
    assert page.count("What each modality contributes") == 1
    assert message in page
    assert len(re.findall(r'class="fill( all)?"', page)) >= 2
    assert ("always the mean of the train rows (3)" in page) == (problem == "regression")
