"""Ingest and validation alone: what `crossmodal check` runs."""

from __future__ import annotations

from typing import Any

from flows.execute import RunFailed, attempt, leave_results
from flows.pipeline import Progressed, Stages, count_splits, prepare
from flows.preflight import failure, preflight
from flows.records import recorded
from flows.request import Request
from flows.summary import summarise
from tasks.contract import read_table
from tasks.validate.trainable import trainable_problems


def check_manifest(request: Request, so_far: Progressed | None = None) -> tuple[dict[str, Any], list[str]]:
    """The summary of a manifest that meets its contract, and notes on it. Raises RunFailed where it does not.

    What was found is left in `so_far`.
    """
    refusal = failure(preflight(request, training=False))
    if refusal is not None:
        raise refusal
    so_far = so_far or Progressed()
    notes: list[str] = []

    def look() -> None:
        """The data are read and validated, filling `so_far`; `notes` holds warnings and what forbids training."""
        valid = so_far.valid = prepare(request, request.config, Stages(), so_far)
        samples = read_table(request.store.path(valid.uri) / "samples.parquet")
        so_far.splits = count_splits(samples)
        found = trainable_problems(samples, request.config.split.min_test_per_class, valid.clean.wanted)
        problems = [f"not trainable: {text}" for text in found]
        notes.extend([*valid.clean.notes, *valid.warnings, *so_far.warnings, *problems])

    with recorded(request, "check", so_far):
        error = attempt(look, so_far)
        summary = summarise(request, so_far, "check", str(error) if error else None)
        leave_results(request, so_far, summary)
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary, notes
