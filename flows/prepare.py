"""Only ingest and validation: what `crossmodal check` runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data_contracts.recognition import Recognition
from data_contracts.refs import RawRef
from data_contracts.run_summary import Finding, RunSummary
from flows.data_stages import prepare
from flows.execute import attempt, leave_results
from flows.preflight import failure, preflight
from flows.records import recorded
from flows.request import Request
from flows.results import reasons_of
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import Scan, Stages
from flows.summary import rows_of
from tasks.config import RunConfig
from tasks.evaluate.rule_checks import require_rules_fit
from tasks.ingest.manifest.scan import scan
from tasks.samples import Samples
from tasks.store import Store
from tasks.validate.trainable import trainable_problems

Listener = Callable[[Recognition], None]


def check_manifest(
    request: Request, run_state: RunState | None = None, on_read: Listener | None = None
) -> tuple[RunSummary, list[str]]:
    """The summary of a manifest that meets its contract, and notes on it. Raises RunFailed where it does not.

    What was found is left in `run_state`. `on_read` hears what was recognised before anything is decoded.
    """
    refusal = failure(preflight(request, training=False))
    if refusal is not None:
        raise refusal
    run_state = run_state or RunState()
    notes: list[str] = []
    problems: list[str] = []

    def read() -> None:
        """The data are read and validated, filling `run_state`; `notes` holds warnings and what forbids training."""
        stages = Stages() if on_read is None else Stages(scan=_reporting_scan(on_read))
        valid = run_state.valid = prepare(request, request.config, stages, run_state)
        samples = Samples.read(request.store.path(valid.uri))
        run_state.splits = samples.count_splits()
        require_rules_fit(request.config, valid, request.store)
        found = trainable_problems(samples, request.config.split.min_test_per_class, valid.clean.label_targets)
        problems.extend(f"not trainable: {text}" for text in found)
        notes.extend([*valid.clean.notes, *valid.warnings, *run_state.warnings, *problems])
        run_state.reason = _describe(request, run_state, problems)

    with recorded(request, "check", run_state):
        error = attempt(read, run_state)
        finding: Finding = "not trainable" if problems else "passed"
        summary = leave_results(request, run_state, "check", error, None if error else finding)
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary, notes


def _reporting_scan(listener: Listener) -> Scan:
    """The stage `scan`, of whose outcome the listener hears."""

    def scan_and_say(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The raw table; the listener has heard what was recognised."""
        raw = scan(config, store, data)
        listener(raw.recognition)
        return raw

    return scan_and_say


def _describe(request: Request, run_state: RunState, problems: list[str]) -> str:
    """What can be used, what is refused and why, and what training would refuse, as one line."""
    rows = rows_of(run_state)
    reasons = {} if run_state.clean is None else reasons_of(request.store, run_state.clean, run_state.valid)
    refused = ", ".join(
        f"{count} {reason}" for reason, count in sorted(reasons.items(), key=lambda it: (-it[1], it[0]))
    )
    parts = [f"{rows.used} of {rows.rows_in} rows can be used"]
    parts += [f"quarantined: {refused}"] if refused else []
    parts += [f"{rows.duplicates} duplicates"] if rows.duplicates else []
    parts += [f"{count} {name}" for name, count in rows.set_aside().items()]
    return "; ".join([*parts, *problems])
