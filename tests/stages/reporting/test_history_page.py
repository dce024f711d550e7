"""The page of a model's history: every run in it, nothing of a user's that a browser would act on, readable on a phone."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data_contracts.row_examples import QuarantinedRow
from tasks.reporting.row_page import RefusedRow, write_refused
from tasks.reporting.run_history import MAX_RUNS, RunPoint, draw_metric, draw_seconds, write_history
from tests.support.browser import chromium

START = datetime(2026, 1, 5, 3, tzinfo=UTC)
VERDICTS = ("promote", "unchanged", "reject", "inconclusive", "failed", "promote")


def point(number: int, verdict: str = "promote", accuracy: float | None = 0.9) -> RunPoint:
    figures = {} if accuracy is None else {"accuracy": accuracy, "macro_f1": accuracy - 0.02, "ece": 0.03}
    intervals = {} if accuracy is None else {"accuracy": (accuracy - 0.03, min(1.0, accuracy + 0.02))}
    return RunPoint(
        run=f"run-{number}",
        started=START + timedelta(days=7 * number),
        verdict=verdict,
        reason="accuracy 0.9 > majority share 0.5; macro_f1 +0.01 [-0.01, +0.03]",
        version="1" if verdict == "promote" else None,
        metrics=figures,
        intervals=intervals,
        rows={"in": 1000, "used": 990},
        splits={"test": 265},
        seconds={"train": 30.0 + number, "total": 50.0 + number},
        report=f"../run-{number}/report.html",
    )


def runs(count: int = 12) -> list[RunPoint]:
    verdicts = [VERDICTS[number % len(VERDICTS)] for number in range(count)]
    return [
        point(number, verdict, None if verdict == "failed" else 0.85 + 0.01 * number % 0.12)
        for number, verdict in enumerate(verdicts)
    ]


def test_a_chart_has_a_mark_for_each_run_with_a_figure_and_joins_the_promoted() -> None:
    chart = draw_metric("accuracy", runs())
    assert chart is not None
    assert len(chart.marks) == 10
    assert [mark.x for mark in chart.marks] == sorted(mark.x for mark in chart.marks)
    assert len(chart.line.split()) == 4
    for mark in chart.marks:
        assert mark.high is not None
        assert mark.low is not None
        assert mark.high <= mark.y <= mark.low, "in pixels, up is less"
    assert draw_metric("accuracy", [point(0, "failed", None)]) is None
    assert draw_metric("ece", [point(0)]) is not None, "one run, no interval"


def test_bars_are_as_high_as_runs_are_long() -> None:
    bars = draw_seconds([point(0), point(50)])
    assert bars[1]["height"] == 2 * bars[0]["height"]


def test_old_runs_are_left_to_the_table(tmp_path: Path) -> None:
    write_history(tmp_path / "page.html", "digits", runs(MAX_RUNS + 6))
    page = (tmp_path / "page.html").read_text()
    assert "The 6 oldest runs" in page
    assert page.count("<tr class=") == MAX_RUNS + 6


def test_what_users_wrote_is_inert(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\u202e"
    write_history(
        tmp_path / "page.html", hostile, [point(0).model_copy(update={"reason": hostile, "version": hostile})]
    )
    facts: QuarantinedRow = {
        "id": hostile,
        "row": 1,
        "modality": None,
        "path": None,
        "reason": hostile,
        "detail": hostile,
    }
    write_refused(
        tmp_path / "row.html",
        RefusedRow(run="r", row=1, facts=facts, cells={hostile: hostile}),
    )
    for name in ("page.html", "row.html"):
        page = (tmp_path / name).read_text()
        assert "<script" not in page
        assert "⟨U+202E⟩" in page
        assert not re.search(r"(?:src|href)=\"(?!data:|\.\./run-)", page)


@pytest.mark.slow
def test_it_fits_a_phone_and_follows_the_browser_s_colours(tmp_path: Path) -> None:
    write_history(tmp_path / "page.html", "digits", runs())
    colours = {}
    with chromium() as browser:
        for scheme, width in (("light", 1200), ("dark", 1200), ("light", 375)):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto((tmp_path / "page.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            if folder := os.environ.get("CROSSMODAL_SCREENSHOTS"):
                page.screenshot(path=f"{folder}/history-{scheme}-{width}.png", full_page=True)
    assert colours["light"] != colours["dark"]
