"""The section on what an answer is worth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_contracts.eval_detail import EvalDetail
from data_contracts.uncertainty import (
    MeasuredShare,
    OutlierFigures,
    SelectiveFigures,
    SetFigures,
    UncertaintyFigures,
)
from tasks.reporting.charts import HEIGHT, LEFT
from tasks.reporting.uncertainty import promises, risk_chart
from tests.support.rendered import TEN, render

HALF = MeasuredShare(count=50, rows=100, interval=(0.4, 0.6))
FIGURES = UncertaintyFigures(
    temperature=1.5,
    unscaled={"log_loss": 0.75},
    sets=SetFigures(alpha=0.1, covered=HALF, mean_size=1.25, single=80),
    selective=SelectiveFigures(max_risk=0.2, answered=HALF, wrong=HALF.model_copy(update={"rows": 50, "count": 5})),
    outliers=OutlierFigures(false_positive_rate=0.05, flagged=HALF),
)
CURVE = ((0.5, 0.1), (1.0, 0.3))


def test_each_promise_stands_beside_what_was_measured() -> None:
    assert [(line.promised, line.measured.count if line.measured else None) for line in promises(FIGURES)] == [
        ("at least 90.0 %", 50),
        ("", 50),
        ("at most 20.0 %", 5),
        ("at most 5.0 %", 50),
    ]
    assert promises(FIGURES)[0].note == "a set has 1.25 labels on average; 80.0 % of the sets hold the answer only"
    assert promises(UncertaintyFigures()) == []


def test_the_curve_shows_the_stated_risk_and_the_chosen_point() -> None:
    chart = risk_chart(CURVE, FIGURES.selective)
    assert chart["chosen"] is not None
    x, y = chart["chosen"]
    assert chart["path"].startswith(f"M{x:.1f} {y:.1f} L")  # 50 % of the rows, 10 % of them wrong
    assert chart["limit_y"] is not None
    assert 0 < chart["limit_y"] < y < HEIGHT
    assert LEFT < x < chart["x_ticks"][-1][0]
    assert risk_chart([(1.0, 0.0)], None)["y_ticks"][0][1].startswith("0")


def test_the_report_shows_it_and_both_reliability_diagrams(make_run: Callable[..., Any], tmp_path: Path) -> None:
    run = make_run(TEN)
    path = run.store.path("evaluations/k/detail.json")
    detail = EvalDetail.model_validate_json(path.read_text())
    assert "<h2>Uncertainty</h2>" not in render(run, tmp_path)
    with_it = detail.model_copy(update={"risk_curve": CURVE, "unscaled_calibration": detail.calibration})
    run.parts.report = run.parts.report.model_copy(update={"uncertainty": FIGURES})
    path.write_text(with_it.model_dump_json())
    history = run.store.path("checkpoints/k/history.json")
    scaling = {"temperature": 1.5, "nll": 0.9, "scaled_nll": 0.7, "left_out_nll": 0.71, "used": True}
    history.write_text(json.dumps(json.loads(history.read_text()) | {"temperature": scaling}))
    page = render(run, tmp_path)
    shown = (
        "Calibration before",
        "Calibration after",
        "Risk over coverage",
        "Temperature 1.500",
        "0.7000 with it, 0.7100",
    )
    for text in ("<h2>Uncertainty</h2>", "Of the test rows: 0.7500 without", *shown):
        assert text in page
