"""What the Prefect UI gets of a run: the tables by value, one progress for the whole run, links only where they work."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from data_contracts.refs import RuleResult, Verdict
from data_contracts.run_summary import ModelSummary, RunSummary
from flows.artifacts import leave_table, report_link, verdict_text
from flows.request import Request
from flows.run_progress import SHARES, overall_share, time_left
from tasks.config import RunConfig
from tasks.display_table import DisplayTable
from tasks.escaping import one_line
from tasks.reporting.run_tables import gate_table, metrics_table, rows_table
from tasks.store import Store, digest_json
from tests.support.hostile import HOSTILE_NAMES
from tests.support.markdown import markup_of, text_of

SUMMARY = RunSummary.model_validate({
    "rows": {"in": 12, "used": 9, "quarantined": 2, "duplicates": 1},
    "splits": {"train": 6, "val": 1, "test": 2},
    "metrics": {"test": {"accuracy": 2 / 3, "auroc": None}},
    "by_modalities": {"image": {"accuracy": 1 / 3}},
    "report": "runs/x y/report.html",
})  # fmt: skip


def test_the_gates_table_leads_with_outcome_and_sentence() -> None:
    rule = RuleResult(
        rule="accuracy >= 0.9", metric="accuracy", value=2 / 3, threshold=0.9, baseline="absolute minimum", n=9,
        outcome="fail", detail="accuracy 0.667 < 0.9",
    )  # fmt: skip
    key = digest_json("x")
    verdict = Verdict(uri="v", sha256=key, rows=9, decision="reject", reason="r", rules=(rule,), model_sha256=key)
    (row,) = gate_table(verdict).as_records()
    assert list(row)[:2] == ["outcome", "sentence"]
    assert (row["outcome"], row["sentence"], row["value"]) == ("fail", "accuracy 0.667 < 0.9", 0.6667)


def test_the_gates_table_has_interval_and_clusters() -> None:
    rule = RuleResult(
        rule="accuracy >= 0.9", metric="accuracy", value=0.95, threshold=0.9, baseline="absolute minimum", n=500,
        outcome="pass", detail="figures", sentence="Good.", interval=(0.91234, 0.98), clusters=20,
    )  # fmt: skip
    key = digest_json("x")
    verdict = Verdict(uri="v", sha256=key, rows=9, decision="promote", reason="r", rules=(rule,), model_sha256=key)
    (row,) = gate_table(verdict).as_records()
    shown = [row[name] for name in ("sentence", "interval", "n", "clusters", "detail")]
    assert shown == ["Good.", "0.9123 to 0.9800", 500, 20, "figures"]


def test_figures_are_rounded_and_every_line_has_the_same_columns() -> None:
    assert metrics_table(SUMMARY).as_records() == [
        {"given": "all", "accuracy": 0.6667, "auroc": None},
        {"given": "image", "accuracy": 0.3333, "auroc": None},
    ]


def test_rows_add_up() -> None:
    table = rows_table(SUMMARY, {"no-label": 1, "unreadable-image": 1})
    rows: dict[Any, Any] = {row["rows"]: row["count"] for row in table.as_records()}
    assert rows["read"] == rows["used"] + rows["quarantined"] + rows["duplicates"]
    assert rows["quarantined: no-label"] == rows["quarantined: unreadable-image"] == 1


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ("http://127.0.0.1:4321/", "[Report](http://127.0.0.1:4321/runs/x%20y/report.html)"),
        (None, "Report: `{store}/runs/x y/report.html`"),
    ],
)
def test_the_report_is_linked_only_where_it_is_served(
    pages: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROSSMODAL_PAGES_URL", raising=False)
    if pages is not None:
        monkeypatch.setenv("CROSSMODAL_PAGES_URL", pages)
    request = Request(RunConfig(name="m"), Store(tmp_path), "", "x y")
    assert report_link(request, SUMMARY) == expected.format(store=tmp_path)
    assert report_link(request, SUMMARY.model_copy(update={"report": None})) == "No report was written."


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_the_verdict_is_one_title_and_text(name: str, tmp_path: Path) -> None:
    request = Request(RunConfig(name="m"), Store(tmp_path), "", "x y")
    model = ModelSummary(version="3")
    summary = SUMMARY.model_copy(update={"verdict": "reject", "reason": name, "model": model})
    text = verdict_text(request, summary)
    assert text_of(text).splitlines()[:2] == ["Rejected: m version 3", one_line(name).strip()]
    assert markup_of(text) == set()


def test_the_share_of_a_run_grows_over_its_steps_to_the_whole() -> None:
    steps = ["scan", "decode image", "compare image", "validate", "extract", "train", "evaluate", "publish", "report"]
    shares = [overall_share(step, done, 2) for step in steps for done in (0, 1, 2)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1], sum(SHARES.values())) == (0, 100, 100)
    assert overall_share("something new", 1, 2) == 0


@pytest.mark.parametrize(
    ("done", "total", "elapsed_s", "expected"),
    [
        (1, 4, 10.0, "about 30 s left"),
        (1, 10, 60.0, "about 9 min 0 s left"),
        (0, 4, 10.0, ""),
        (4, 4, 10.0, ""),
        (1, 4, 1.0, ""),
    ],
)
def test_the_time_left_is_told_once_it_can_be(done: int, total: int, elapsed_s: float, expected: str) -> None:
    assert time_left(done, total, elapsed_s) == expected


@pytest.mark.filterwarnings("ignore:Artifact creation outside")
def test_a_table_that_the_server_does_not_take_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The work is done by then: a server that is gone must not fail it."""
    nowhere = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    log = logging.getLogger("prefect.crossmodal")
    log.addHandler(caplog.handler)
    try:
        with temporary_settings(nowhere):
            leave_table("methods", DisplayTable.of([{"method": "int8"}]), "text")
    finally:
        log.removeHandler(caplog.handler)
    assert "artifacts not shown" in caplog.text
