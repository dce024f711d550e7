"""The one place where the summary of a run is made, of any flow, and the files that are left beside it."""

from __future__ import annotations

import json
from typing import TypedDict, Unpack

import pyarrow.parquet as pq

from data_contracts.baselines import LinearBaseline
from data_contracts.refs import DriftTest, EvalReport, Metrics, features_by_title
from data_contracts.run_summary import (
    NO_SPLITS,
    STAGES,
    BaselineSummary,
    CompareSummary,
    CompressSummary,
    CorruptedSummary,
    Finding,
    ModelSummary,
    RowsSummary,
    RunSummary,
    TuneSummary,
    WarmStartSummary,
    WorkSummary,
)
from flows.request import Request
from flows.results import quarantine_of
from flows.run_state import RunState
from tasks.encoder_choice import describe_choice
from tasks.holdout_reuse import MANY, describe_uses
from tasks.ingest.ingest import quarantine_csv
from tasks.problems.intervals import CONFIDENCE
from tasks.redaction import redact, redact_json
from tasks.reporting.artifacts import read_history, read_slices
from tasks.reporting.classical_section import classical_warnings
from tasks.store import Store, replace_file, replacing

ON_CHAMPION = frozenset({"predict", "monitor", "score", "compress", "explain"})
"""Flows that are about a published model."""


class Found(TypedDict, total=False):
    """What a flow found that its stages' refs do not tell; fields of RunSummary."""

    report: str | None
    repeats: str | None
    finding: Finding | None
    reason: str
    metrics: dict[str, Metrics]
    labelled: int
    out: str
    notes: tuple[str, ...]
    quarantine: str | None
    found: dict[str, int] | None
    drift: bool
    compared: int
    known: int
    tests: tuple[DriftTest, ...]
    tune: TuneSummary
    compare: CompareSummary
    compress: CompressSummary


def summarise(
    request: Request, run_state: RunState, flow: str, error: str | None = None, **found: Unpack[Found]
) -> RunSummary:
    """The run's summary (DESIGN.md, "The command line"); what the run did not get to is None or zero."""
    report, clean = run_state.report, run_state.clean
    features = features_by_title(run_state.features)
    summary = RunSummary(
        run=request.run_id,
        flow=flow,
        data=request.config.data.path,
        verdict=None if error else run_state.decision,
        reason=error or run_state.reason,
        model=model_of(request, run_state, flow),
        rows=rows_of(run_state),
        splits=run_state.splits or (clean.splits if clean else {**NO_SPLITS}),
        metrics=report.metrics if report else {},
        intervals=intervals_of(report) if report else None,
        by_modalities=report.by_modalities if report else {},
        work=WorkSummary(
            computed={title: ref.computed for title, ref in features.items()},
            reused={title: ref.reused for title, ref in features.items()},
        ),
        seconds={stage: round(run_state.seconds.get(stage, 0.0), 3) for stage in STAGES},
        inference=run_state.inference,
        extracted_on=run_state.extracted_on,
        robustness=robustness_of(report, request.store),
        forgetting=report.forgetting or None if report else None,
        linear_baseline=baseline_of(report.linear_baseline) if report and report.linear_baseline else None,
        classical={inputs: baseline_of(each) for inputs, each in report.classical.by_inputs.items()}
        if report and report.classical
        else None,
        read=run_state.raw.recognition if run_state.raw else None,
        encoder_choice=run_state.encoder_choice,
        warm_start=_warm_start(run_state, request.store),
        notes=(
            *notes_of(run_state),
            *_training_notes(run_state, request.store),
            *_classical_notes(report, request, run_state),
            *notes_of_store(request.store),
        )
        or None,
        test_uses=run_state.test_uses,
        rules=run_state.verdict.rules if run_state.verdict else None,
        error=error,
    )
    whole = summary.model_copy(update={**found})
    texts = {name: text for name in ("data", "reason", "error", "out") if (text := getattr(whole, name)) is not None}
    notes = None if whole.notes is None else tuple(map(redact, whole.notes))
    return whole.model_copy(update={**{name: redact(text) for name, text in texts.items()}, "notes": notes})


def notes_of(run_state: RunState) -> tuple[str, ...]:
    """What a person should know about the data: notes of their reading, and what their contracts warn of."""
    clean, valid = run_state.clean, run_state.valid
    worn = run_state.test_uses is not None and run_state.test_uses > MANY
    reuse = (describe_uses(run_state.test_uses),) if worn else ()
    return (*(clean.notes if clean else ()), *(valid.warnings if valid else ()), *run_state.warnings, *reuse)


def _training_notes(run_state: RunState, store: Store) -> tuple[str, ...]:
    history = read_history(run_state.checkpoint, store)
    chosen = describe_choice(run_state.encoder_choice) if run_state.encoder_choice else ""
    told = run_state.start_choice.notes if run_state.start_choice else ()
    return (*([chosen] if chosen else ()), *told, *(history.notes if history else ()))


def start_notes(run_state: RunState, store: Store) -> tuple[str, ...]:
    """Of those, what is said of the start of the training."""
    history = read_history(run_state.checkpoint, store)
    told = run_state.start_choice.notes if run_state.start_choice else ()
    return (*told, *(history.start.notes if history and history.start else ()))


def _warm_start(run_state: RunState, store: Store) -> WarmStartSummary | None:
    """None where the config does not ask for one, or the run did not come to its training."""
    choice, history = run_state.start_choice, read_history(run_state.checkpoint, store)
    if choice is None or history is None:
        return None
    record, start = history.start if run_state.start is not None else None, run_state.start
    changes = record.changes if record else choice.changes
    tried = start is not None and record is not None and record.champion == start.model_sha256
    return WarmStartSummary(
        version=start.version if start is not None and tried else None,  # where nothing is new, it is itself the model
        kept="champion" if record is not None and record.is_continued else "scratch",
        why=choice.why or None,
        changed=changes and round(changes.share, 4),
        changes=changes,
        compared=record.compared if record else (),
    )


def _classical_notes(report: EvalReport | None, request: Request, run_state: RunState) -> tuple[str, ...]:
    return () if report is None else classical_warnings(report, request.config, run_state.encoder_choice)


def notes_of_store(store: Store) -> tuple[str, ...]:
    """A line where the run found results in the store that were damaged, one where in the bucket that it is the cache of."""
    found = (
        (store.damaged, f"damaged, and set aside under {store.root / 'trash'}", "check the disk"),
        (store.damaged_shared, "damaged in the bucket, and deleted there", "see who writes there besides crossmodal"),
    )
    notes = []
    for damaged, what, to_do in found:
        named = ", ".join(damaged[:3]) + (", …" if len(damaged) > 3 else "")
        results = "1 result was" if len(damaged) == 1 else f"{len(damaged)} results were"
        if damaged:
            notes.append(f"store: {results} {what} ({named}); what is needed of it is computed again: {to_do}")
    return tuple(notes)


def intervals_of(report: EvalReport) -> dict[str, tuple[float, float] | None]:
    """Of every figure that is defined; None where there are too few rows for one."""
    names = [
        name if column == "test" else f"{column}.{name}"
        for column, figures in report.metrics.items()
        for name, value in figures.items()
        if value is not None
    ]
    return {name: report.intervals.get(name) for name in names}


def robustness_of(report: EvalReport | None, store: Store) -> dict[str, tuple[CorruptedSummary, ...]] | None:
    """Figures under corruptions; None where none were measured."""
    parts = read_slices(report, store)
    if parts is None or not parts.robustness:
        return None
    return {
        curve.corruption: tuple(
            CorruptedSummary(
                severity=severity,
                rows=part.rows,
                metrics=part.metrics,
                intervals={
                    name: part.intervals.get(CONFIDENCE, {}).get(name)
                    for name, value in part.metrics.items()
                    if value is not None
                },
            )
            for severity, part in enumerate(curve.levels)
        )
        for curve in parts.robustness
    }


def baseline_of(linear_baseline: LinearBaseline) -> BaselineSummary:
    """The linear baseline's figures on the test rows."""
    ahead = linear_baseline.differences.get("accuracy")
    return BaselineSummary(
        accuracy=linear_baseline.metrics.get("accuracy"),
        macro_f1=linear_baseline.metrics.get("macro_f1"),
        ahead=ahead[0] if ahead else None,
        c=linear_baseline.c,
        rows=linear_baseline.rows,
        notes=linear_baseline.notes,
    )


def model_of(request: Request, run_state: RunState, flow: str) -> ModelSummary:
    """Name, version, alias and digest: of the release, of the champion when unchanged, else of the candidate."""
    name, champion, release = request.name, run_state.champion, run_state.release
    if flow in ON_CHAMPION and champion is not None:
        return ModelSummary(name=champion.name, version=champion.version, sha256=champion.model_sha256)
    if release is not None:
        return ModelSummary(name=name, version=release.version, alias=release.alias, sha256=release.model_sha256)
    is_candidate = (
        run_state.verdict is not None and run_state.checkpoint is None
    )  # the champion itself, in the mode evaluate only
    if (run_state.decision == "unchanged" or is_candidate) and champion is not None:
        alias = request.config.publish.alias
        return ModelSummary(name=name, version=champion.version, alias=alias, sha256=champion.model_sha256)
    return ModelSummary(name=name, sha256=run_state.checkpoint.model_sha256 if run_state.checkpoint else None)


def rows_of(run_state: RunState) -> RowsSummary:
    """in = used + quarantined + duplicates + unlabelled + sealed."""
    if run_state.clean is None:
        return RowsSummary()
    counts = run_state.clean.counts
    leaked = counts.used - run_state.valid.rows if run_state.valid else 0  # left out of train by split.leakage = drop
    return RowsSummary(
        rows_in=counts.rows_in,
        used=counts.used - leaked,
        quarantined=counts.quarantined + leaked,
        duplicates=counts.duplicates,
        unlabelled=counts.unlabelled,
        sealed=counts.sealed,
    )


def write_summary(request: Request, run_state: RunState, summary: RunSummary) -> None:
    """Leaves summary.json, and the quarantine tables when there are any, in the run's folder."""
    request.folder.mkdir(parents=True, exist_ok=True)
    if run_state.clean is not None:
        table = quarantine_of(request.store, run_state.clean, run_state.valid)
        with replacing(request.folder / "quarantine.parquet") as scratch:
            pq.write_table(table, scratch, compression="zstd")
        replace_file(request.folder / "quarantine.csv", quarantine_csv(table).encode())
    text = json.dumps(redact_json(summary.as_json()), indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(request.folder / "summary.json", text.encode())
