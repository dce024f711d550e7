"""The rows that a model would learn from, looked at before it does: what `crossmodal audit` runs and flows/audit.py wraps."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from data_contracts.audit import REPORT, AuditReport
from data_contracts.refs import CleanRef, RawRef
from data_contracts.run_summary import Finding, RunSummary
from flows.data_stages import extract_features, prepare
from flows.encoder_choice import choose_encoders
from flows.execute import attempt
from flows.preflight import failure, preflight
from flows.records import recorded
from flows.request import Request
from flows.results import reasons_of
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import AuditStages, Scan, Stages
from flows.summary import notes_of, summarise, write_summary
from tasks import progress
from tasks.audit.rows import scored_classes
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.encoder_choice import with_encoders
from tasks.errors import UsageError
from tasks.ingest.manifest.label_columns import UNLABELLED
from tasks.ingest.sources.resolve import locate_data
from tasks.labels import label_columns
from tasks.problems.registry import get_problem
from tasks.reporting.audit_files import write_audit
from tasks.store import Store

T = TypeVar("T")
WITHOUT_LABEL = ("missing-label", UNLABELLED)
"""Reasons for which rows are set aside that could be labelled next."""
NOT_NEEDED = ("registry", "champion")
"""Of the preflight of a training: an audit publishes nothing and compares with nothing."""


def audit_manifest(
    request: Request, stages: Stages | None = None, parts: AuditStages | None = None, run_state: RunState | None = None
) -> RunSummary:
    """The summary of an audit; report.html, audit.json, rows.csv and corrections.csv lie in the run's folder.

    Raises UsageError for a problem without classes, RunFailed where the data cannot be read or hold too little.
    """
    own, request = request, replace(request, config=audit_config(request.config))
    require_classes(request.config)
    stages, parts, run_state = stages or Stages(), parts or AuditStages(), run_state or RunState()
    refusal = failure([check for check in preflight(request) if check.name not in NOT_NEEDED])
    if refusal is not None:
        raise refusal

    def work() -> None:
        """The audit is done, filling `run_state`."""
        run_audit(request, own, stages, parts, run_state)

    with recorded(request, "audit", run_state):
        error = attempt(work, run_state)
        summary = _leave_results(request, run_state, str(error) if error else None)
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary


def audit_config(config: RunConfig) -> RunConfig:
    """The config whose pretrained encoders stay as they are: their embeddings are what rows are scored by."""
    return config.model_copy(update={"train": config.train.model_copy(update={"regime": "head"})})


def require_classes(config: RunConfig) -> None:
    """UsageError where the first label column holds no classes: how likely a label is wrong is known of classes only."""
    column = label_columns(config.data)[0]
    if not get_problem(column.problem).has_classes:
        raise UsageError(
            f"audit: the first label column is data.problem={column.problem}, and label errors are looked for among classes, "
            "one a row; name a column of classes first (data.columns.labels), or see crossmodal check for near duplicates "
            "and the worst mistakes in the report of a retrain"
        )


def run_audit(request: Request, own: Request, stages: Stages, parts: AuditStages, run_state: RunState) -> None:
    """Reads, validates and encodes the rows, scores each by the rows of other folds, and puts together what is odd.

    `own` has the settings as they are.
    """
    config, store = request.config, request.store
    valid = run_state.valid = prepare(request, config, replace(stages, scan=_refusing(stages.scan)), run_state)
    run_state.splits = {**valid.clean.splits}
    assert run_state.raw is not None
    config = with_encoders(config, choose_encoders(valid, own, stages, run_state))
    pool = _unlabelled(request, stages, run_state)
    features = run_state.features = extract_features(pool or valid, config, store, stages, run_state)
    with run_state.timed("train"):
        views = {
            name: parts.view(name, valid, pool, feature, config, store)
            for name, feature in _reported("view", list(features.items()))
        }
        asked = [(view, fold) for view in views.values() for fold in range(config.audit.folds)]
        folds = tuple(parts.fold(view, fold, valid, pool, config, store) for view, fold in _reported("fold", asked))
    with run_state.timed("evaluate"):
        run_state.audit = parts.audit(valid, pool, run_state.raw, views, folds, config, store)
    run_state.reason = run_state.audit.reason


def _refusing(scan: Scan) -> Scan:
    """The stage `scan`, after which rows that are too few to be evaluated are refused, before anything is decoded."""

    def scan_and_count(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The raw table. DataError where fewer than two classes have enough rows."""
        raw = scan(config, store, data)
        table = read_table(store.path(raw.uri) / "rows.parquet", ["label", "split", "reason"]).to_pylist()
        usable = [row for row in table if row["reason"] is None and row["split"] != "test"]
        scored_classes(Counter(row["label"] for row in usable if row["label"]), config.audit.folds)
        return raw

    return scan_and_count


def _unlabelled(request: Request, stages: Stages, run_state: RunState) -> CleanRef | None:
    """All rows, those without a label among them, as they are read for a prediction; None where each has one."""
    assert run_state.clean is not None
    reasons = reasons_of(request.store, run_state.clean, None)
    if not any(reasons.get(reason) for reason in WITHOUT_LABEL):
        return None
    from tasks.ingest.ingest import ingest
    from tasks.ingest.manifest.scan import scan

    with run_state.timed("ingest"):
        raw = scan(request.config, request.store, locate_data(request.config, request.store), "predict")
        return ingest(raw, request.config, request.store, "predict")


def _reported(step: str, parts: Sequence[T]) -> Iterator[T]:
    """The parts, one after another; the bar of the step stands at those that are done."""
    for done, part in enumerate(parts):
        progress.report(step, done, len(parts))
        yield part
    progress.report(step, len(parts), len(parts))


def _leave_results(request: Request, run_state: RunState, error: str | None) -> RunSummary:
    """summary.json, and of an audit that came to its end the report and its files, in the run's folder."""
    ref, report = run_state.audit, None
    request.folder.mkdir(parents=True, exist_ok=True)
    if ref is not None and error is None:
        assert run_state.valid is not None
        held = json.loads((request.store.path(ref.uri) / REPORT).read_text(encoding="utf-8"))
        found = AuditReport.model_validate(held)
        notes = (*notes_of(run_state), *found.notes)
        write_audit(request.folder, found, ref, run_state.valid, notes, request.name, request.run_id, request.store)
        report = (request.folder / "report.html").relative_to(request.store.root).as_posix()
    finding: Finding | None = None if ref is None else "findings" if any(ref.counts.values()) else "no findings"
    summary = summarise(
        request,
        run_state,
        "audit",
        error,
        report=report,
        finding=None if error else finding,
        found=None if ref is None else ref.counts,
    )
    write_summary(request, run_state, summary)
    return summary
