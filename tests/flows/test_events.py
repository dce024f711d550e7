"""What is emitted, for which verdict; and that nothing that goes wrong with an event reaches the run."""

from __future__ import annotations

from typing import Any

import prefect.events
import pytest

from data_contracts.refs import DriftTest
from data_contracts.run_summary import RunSummary
from flows.events import emit_drift, emit_missed, emit_verdict


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(prefect.events, "emit_event", lambda **event: sent.append(event))
    return sent


def summary(verdict: str | None, **found: Any) -> RunSummary:
    model = {"name": "digits", "version": "2", "alias": "champion", "sha256": "0" * 64}
    return RunSummary.model_validate({
        "run": "r1", "verdict": verdict, "reason": "because\nof this", "model": model,
        "metrics": {"test": {"accuracy": 0.5, "auroc": None}}, **found,
    })  # fmt: skip


def drift_test(name: str, drifted: bool) -> DriftTest:
    return DriftTest(
        name=name, method="chi-square", p=0.001, p_holm=0.002, effect=0.5, min_effect=0.1, n_reference=100, n_new=60,
        before="1", after="2", drifted=drifted,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "event"),
    [
        ("promote", "crossmodal.model.promoted"),
        ("reject", "crossmodal.model.rejected"),
        ("inconclusive", "crossmodal.model.rejected"),
        ("needs-approval", "crossmodal.model.pending"),
    ],
)
def test_a_verdict_becomes_an_event_of_the_model(emitted: list[dict[str, Any]], verdict: str, event: str) -> None:
    emit_verdict(summary(verdict))
    (sent,) = emitted
    assert sent["event"] == event
    assert sent["resource"]["prefect.resource.id"] == "crossmodal.model.digits"
    assert sent["payload"] == {
        "model": "digits", "reason": "because of this", "verdict": verdict, "version": "2", "sha256": "0" * 64,
        "run": "r1", "metrics": {"accuracy": 0.5, "auroc": None},
    }  # fmt: skip


@pytest.mark.parametrize("verdict", ["unchanged", None])
def test_no_news_is_no_event(emitted: list[dict[str, Any]], verdict: str | None) -> None:
    emit_verdict(summary(verdict))
    assert emitted == []


def test_drift_says_how_to_retrain(emitted: list[dict[str, Any]]) -> None:
    tests = [drift_test("image brightness", True), drift_test("label", False)]
    emit_drift(summary(None, drift=True, tests=tests, compared=60), "digits", "", ["seed=1"])
    emit_drift(summary(None, drift=False, tests=tests, compared=60), "digits", "", [])
    (sent,) = emitted
    assert sent["event"] == "crossmodal.data.drifted"
    assert sent["payload"]["drifted"] == ["image brightness"]
    assert {name: sent["payload"][name] for name in ("profile", "data", "overrides")} == {
        "profile": "digits", "data": "", "overrides": ["seed=1"],
    }  # fmt: skip


def test_an_event_that_cannot_be_sent_is_only_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**event: Any) -> None:
        raise OSError("no route to the server")

    monkeypatch.setattr(prefect.events, "emit_event", broken)
    with caplog.at_level("WARNING", "prefect.crossmodal"):
        emit_missed("digits", "retrain/weekly", "late")
    assert [record.getMessage() for record in caplog.records] == [
        "event crossmodal.run.missed not emitted: no route to the server"
    ]
