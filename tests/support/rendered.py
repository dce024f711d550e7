"""A report as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_contracts.run_summary import RunSummary
from tasks.reporting.report import write_report

TEN = tuple(str(i) for i in range(10))


def render(run: Any, folder: Path) -> str:
    path = folder / "report.html"
    write_report(path, RunSummary.model_validate(run.summary), run.config, run.store, run.parts)
    return path.read_text(encoding="utf-8")
