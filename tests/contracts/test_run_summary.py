"""summary.json: the keys that scripts rely on, always there, and those of some runs only where they have them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from data_contracts.run_summary import ModelSummary, RunSummary

ALWAYS = [
    "run", "flow", "data", "verdict", "reason", "model", "rows", "splits", "metrics", "by_modalities", "work",
    "seconds", "report",
]  # fmt: skip


def test_a_command_that_failed_before_there_was_a_run_has_every_key() -> None:
    found = RunSummary().as_json()
    assert list(found) == ALWAYS
    assert found["rows"] == {"in": 0, "used": 0, "quarantined": 0, "duplicates": 0}
    assert found["splits"] == {"train": 0, "val": 0, "test": 0}
    assert found["work"] == {"computed": {}, "reused": {}}
    assert list(found["seconds"]) == ["ingest", "validate", "extract", "train", "evaluate", "publish", "total"]
    assert found["model"] is found["report"] is None


def test_what_only_some_runs_have_is_there_where_it_is_known_and_nan_is_none() -> None:
    summary = RunSummary(
        error="no rows", drift=False, known=0, tests=(), metrics={"test": {"mae": float("nan"), "r2": float("inf")}}
    )
    found = summary.as_json()
    assert set(found) - set(ALWAYS) == {"error", "drift", "known", "tests"}
    assert (found["drift"], found["known"], found["tests"]) == (False, 0, [])
    assert found["metrics"] == {"test": {"mae": None, "r2": None}}


def test_it_reads_what_it_wrote_and_cannot_be_patched() -> None:
    summary = RunSummary(run="r", model=ModelSummary(name="m"), finding="passed")
    assert RunSummary.model_validate(summary.as_json()) == summary
    assert RunSummary.model_validate(summary.as_json() | {"of another release": 1}) == summary
    with pytest.raises(ValidationError, match="frozen"):
        summary.verdict = "promote"
