"""A metric is one row: a toy one that is added to the table appears wherever metrics do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.refs import RuleResult
from data_contracts.run_summary import RunSummary
from tasks.config import load_config
from tasks.errors import UsageError
from tasks.gate.gate import gate
from tasks.problems import multiclass_metrics
from tasks.problems.metric import Floats, Metric
from tasks.problems.multiclass import Multiclass
from tasks.problems.multiclass_metrics import MAJORITY, ClassCounts
from tasks.publish.tracking import metric_values
from tasks.publish.version_page import figures_table
from tasks.reporting.report import write_report
from tasks.store import Store

MakeRun = Any


def error_rate(counts: ClassCounts) -> Floats:
    return 1 - counts.hits.sum(axis=1) / counts.rows


@pytest.fixture(name="toy")
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Metric("error_rate", "Error rate of the toy", error_rate, lower_is_better=True, baseline=MAJORITY)
    rows = (*multiclass_metrics.METRICS, row)
    monkeypatch.setattr(multiclass_metrics, "METRICS", rows)
    monkeypatch.setattr(Multiclass, "metrics", rows)


def test_a_new_row_is_known_to_config_evaluation_gate_report_and_mlflow(
    toy: None, make_run: MakeRun, tmp_path: Path
) -> None:
    config = load_config({}, ["gate.metric=error_rate", 'gate.rules=[{"metric":"error_rate","max":0.5}]'])
    run = make_run(("a", "b", "c"))
    report = run.parts.report
    value, (low, high) = report.metrics["test"]["error_rate"], report.intervals["error_rate"]
    assert value == pytest.approx(1 - report.metrics["test"]["accuracy"])
    assert 0 <= low <= value <= high <= 1
    assert np.isfinite(report.differences["error_rate"]).all()
    verdict = gate(report, config, Store(tmp_path / "gate"))
    assert [rule.metric for rule in verdict.rules] == ["error_rate", "error_rate"]
    assert verdict.rules[0].detail == f"error_rate {value:.3f} [{low:.3f}, {high:.3f}] <= 0.5"
    assert isinstance(verdict.rules[1], RuleResult)
    run.parts.verdict = verdict
    write_report(tmp_path / "report.html", RunSummary.model_validate(run.summary), config, run.store, run.parts)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Error rate of the toy" in page
    assert 'Error rate of the toy <span class="soft">(lower is better)</span>' in page
    assert dict(metric_values(report))["test/error_rate"] == value
    assert "| error_rate |" in figures_table(report)


def test_without_the_row_it_is_unknown() -> None:
    with pytest.raises(UsageError, match="'error_rate' is no metric"):
        load_config({}, ["gate.metric=error_rate"])
