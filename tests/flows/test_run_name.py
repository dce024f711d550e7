"""What a run is called, without a server; tests/deployments/test_server.py has the names of scheduled runs."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from data_contracts.run_summary import ModelSummary, RunSummary
from flows.run_name import describe_outcome, model_name, name_run, rename_run


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"profile": "digits"}, "digits"),
        ({"profile": "", "data": "", "overrides": []}, "digits"),
        ({"profile": "digits", "overrides": ["name=other"]}, "other"),
        ({"profile": "defaults", "data": "/data/photos/manifest.csv"}, "photos"),
        ({"profile": "nope"}, "nope"),
        ({"profile": "digits", "data": "/data/new.csv", "model": "photos@challenger"}, "photos"),
        ({"profile": "digits", "overrides": ["train.epoch=3"]}, "digits"),
    ],
)
def test_a_run_is_called_by_its_model_or_by_what_was_asked_for(parameters: dict[str, Any], name: str) -> None:
    assert model_name(parameters | {"store": "/nowhere"}) == name


def test_a_run_that_no_schedule_started_says_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    due = datetime(2026, 11, 25, 3, tzinfo=UTC)
    outside = SimpleNamespace(id=None, parameters={}, scheduled_start_time=due)
    monkeypatch.setattr("flows.run_name.flow_run", outside)
    assert name_run() == "digits · 2026-11-25 03:00 UTC"
    rename_run("promote v7")  # outside of a run there is nothing to rename


@pytest.mark.parametrize(("version", "text"), [("7", "promote v7"), (None, "promote")])
def test_the_end_of_the_name_is_the_verdict_and_the_version(version: str | None, text: str) -> None:
    assert describe_outcome(RunSummary(verdict="promote", model=ModelSummary(version=version))) == text
