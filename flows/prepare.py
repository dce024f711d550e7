"""Ingest and validation alone: what `crossmodal check` runs."""

from __future__ import annotations

from typing import Any

from flows.execute import RunFailed, attempt, leave_results
from flows.history import Finding
from flows.pipeline import Progressed, Stages, count_splits, prepare
from flows.preflight import failure, preflight
from flows.records import recorded
from flows.request import Request
from flows.results import reasons_of
from flows.summary import rows_of, summarise
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
    problems: list[str] = []

    def look() -> None:
        """The data are read and validated, filling `so_far`; `notes` holds warnings and what forbids training."""
        valid = so_far.valid = prepare(request, request.config, Stages(), so_far)
        samples = read_table(request.store.path(valid.uri) / "samples.parquet")
        so_far.splits = count_splits(samples)
        found = trainable_problems(samples, request.config.split.min_test_per_class, valid.clean.wanted)
        problems.extend(f"not trainable: {text}" for text in found)
        notes.extend([*valid.clean.notes, *valid.warnings, *so_far.warnings, *problems])
        so_far.reason = _describe(request, so_far, problems)

    with recorded(request, "check", so_far):
        error = attempt(look, so_far)
        summary = summarise(request, so_far, "check", str(error) if error else None)
        if error is None:
            finding: Finding = "not trainable" if problems else "passed"
            summary["finding"] = finding
        leave_results(request, so_far, summary)
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary, notes


def _describe(request: Request, so_far: Progressed, problems: list[str]) -> str:
    """What can be used, what is refused and why, and what training would refuse, as one line."""
    rows = rows_of(so_far)
    reasons = {} if so_far.clean is None else reasons_of(request.store, so_far.clean, so_far.valid)
    refused = ", ".join(
        f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda it: (-it[1], it[0]))
    )
    parts = [f"{rows['used']} of {rows['in']} rows can be used"]
    parts += [f"quarantined: {refused}"] if refused else []
    parts += [f"{rows['duplicates']} duplicates"] if rows["duplicates"] else []
    return "; ".join([*parts, *problems])
