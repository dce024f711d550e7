"""The lines of a run's log, worded in one place. No result depends on them: the code fingerprints leave this module out.

Every function logs through `progress.log`; Prefect's run logger, or a terminal under --verbose, listens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_contracts.refs import (
    CheckpointRef,
    CleanRef,
    EvalReport,
    FeatureRef,
    Modality,
    ReleaseRef,
    Split,
    ValidatedRef,
    Verdict,
)
from data_contracts.training_history import Epoch, TrainingHistory
from tasks.escaping import one_line
from tasks.number_format import short_number
from tasks.problems.registry import figure_text, get_problem, metric_names, validation_keys
from tasks.problems.scoring import say_too_few
from tasks.progress import Level, log

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
REUSED = " (reused from the store)"


def log_rows(clean: CleanRef, reasons: Mapping[str, int], reused: bool) -> None:
    """How many rows were read, and what became of them."""
    counts, splits = clean.counts, clean.splits
    log(
        f"ingest: {counts.rows_in:,} rows read, {counts.used:,} used, {counts.quarantined:,} quarantined, "
        f"{counts.duplicates:,} duplicates; {', '.join(f'{name} {splits.get(name, 0):,}' for name in _SPLITS)}"
        f"{REUSED if reused else ''}"
    )
    if reasons:
        log(f"ingest: quarantined {format_counts(reasons)}", "warning")
    _log_all("ingest", clean.notes, "info")


def format_counts(counts: Mapping[str, int]) -> str:
    """`unreadable-image: 3, no-label: 1`, the most frequent first."""
    return ", ".join(
        f"{one_line(name)}: {count:,}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def log_validated(valid: ValidatedRef) -> None:
    """How many samples met the contract, and what it warns of (leakage, say)."""
    log(f"validate: {valid.rows:,} samples met their contract")
    _log_all("validate", valid.warnings, "warning")


def log_table_warnings(table: str, warnings: Iterable[str]) -> None:
    """What the contract of another table warns of."""
    _log_all(f"validate {table}", warnings, "warning")


def log_features(features: Iterable[FeatureRef]) -> None:
    """For each input how many features were computed, how many reused, and by which encoder."""
    for ref in features:
        what = f"{ref.modality} with its mirror image" if ref.is_flip_averaged else ref.modality
        log(f"extract: {what} by {one_line(ref.encoder)}: {ref.computed:,} samples computed, {ref.reused:,} reused")


def log_tried(encoders: Mapping[Modality, str]) -> None:
    """Which encoders the next model is trained with, of several that the validation rows choose from."""
    log(f"encoders: trying {', '.join(f'{name} of {kind}' for kind, name in encoders.items())}")


def log_choice(text: str) -> None:
    """Which encoders were chosen, and by which figures."""
    log(text)


def log_training_begins(device: str, processes: int, stages: Sequence[str], epochs: int, done: int) -> None:
    """Where and how training runs, and from where it resumes."""
    where = device if processes == 1 else f"{processes} x {device}"
    text = f"train: on {where}, {', then '.join(stages)}, at most {epochs} epochs"
    log(f"{text}, resumed after epoch {done}" if done else text)


def log_heads_begin(device: str, heads: int, epochs: int) -> None:
    """Where several heads are trained side by side."""
    log(
        f"train: on {device}, {heads} heads on the same features, at most {epochs} epochs; lines are of the best so far"
    )


def log_epoch(entry: Epoch, epochs: int) -> None:
    """The losses and the validation figure of one epoch."""
    log(f"train: epoch {entry.epoch} of {epochs}: {_describe_losses(entry.model_dump())}")


def log_training_ends(done: int, epochs: int, patience: int) -> None:
    """Whether training stopped early."""
    if done < epochs:
        log(f"train: stopped early after {done} of {epochs} epochs: no better validation loss for {patience} epochs")


def log_checkpoint(
    checkpoint: CheckpointRef, history: TrainingHistory | None, reused: bool, notes: Sequence[str] = ()
) -> None:
    """The trained model: its best epoch, what its training took, and the notes of it and of this run."""
    history = history or TrainingHistory()
    best = next((_describe_losses(e.model_dump()) for e in history.epochs if e.epoch == checkpoint.best_epoch), "")
    log(
        f"train: best epoch {checkpoint.best_epoch} of {checkpoint.epochs}"
        f"{f': {best}' if best else ''}; model sha256 {checkpoint.model_sha256[:12]}{REUSED if reused else ''}"
    )
    figures = history.figures
    if not reused and figures.samples_per_s:
        log(f"train: {figures.train_s:.1f} s on {figures.device}, {figures.samples_per_s:,.0f} samples/s")
    _log_all("train", (*notes, *history.notes), "warning")


def _describe_losses(entry: Mapping[str, Any]) -> str:
    text = [f"{name.replace('_', ' ')} {entry[name]:.4f}" for name in ("train_loss", "val_loss") if name in entry]
    for name in validation_keys():
        if entry.get(name) is not None:
            text.append(f"{name.replace('_', ' ')} {figure_text(entry[name], name.removeprefix('val_'), decimals=4)}")
    if entry.get("learning_rate") is not None:
        text.append(f"learning rate {short_number(entry['learning_rate'], digits=3)}")
    return ", ".join(text)


def log_evaluation(report: EvalReport, reused: bool) -> None:
    """The test figures with their intervals."""
    figures = report.metrics["test"]
    text = [
        f"{name} {figure_text(value, name)}{_describe_interval(report, name)}"
        for name in metric_names(report.problem)
        if (value := figures.get(name)) is not None
    ]
    rows = f"{report.rows:,} test rows{f' ({report.seen:,} that it has seen left out)' if report.seen else ''}"
    log(f"evaluate: {rows}: {', '.join(text)}{REUSED if reused else ''}")
    for subset, line in report.by_modalities.items():
        shown = [
            f"{name} {figure_text(value, name)}"
            for name in get_problem(report.problem).headline
            if (value := line.get(name)) is not None
        ]
        log(f"evaluate: given {subset}: {', '.join(shown)}")


def _describe_interval(report: EvalReport, name: str) -> str:
    if name not in report.intervals:
        return f" ({say_too_few(report.clusters)})"
    low, high = report.intervals[name]
    return f" [{figure_text(low, name)}, {figure_text(high, name)}]"


def log_gate(verdict: Verdict) -> None:
    """Every rule of the gate with its outcome."""
    for rule in verdict.rules:
        level: Level = "info" if rule.outcome == "pass" else "warning"
        log(f"gate: {rule.outcome}: {one_line(rule.rule)}: {one_line(rule.detail)}", level)


def log_release(release: ReleaseRef) -> None:
    """The published version."""
    alias = "no alias moved" if release.alias is None else f"alias {release.alias}"
    log(f"publish: {release.name} version {release.version}, {alias}, sha256 {release.model_sha256[:12]}")


def log_end(decision: str | None, reason: str | None, error: str | None, seconds: float) -> None:
    """How the run ended."""
    if error is not None:
        log(f"failed after {seconds:.1f} s: {one_line(error)}", "warning")
    else:
        log(f"verdict: {decision}: {one_line(str(reason))} ({seconds:.1f} s)")


def log_tracking_failed(why: str) -> None:
    """The run ended, but MLflow does not know of it."""
    log(f"mlflow: this run was not logged: {one_line(why)}", "warning")


def log_collected(artifacts: int, freed: int) -> None:
    """How much was deleted that nothing needed any more."""
    if artifacts:
        log(f"store: {artifacts} results that nothing needs were deleted, {freed / 1e6:.1f} MB")


def log_not_collected(why: str) -> None:
    """The run ended, but the store could not be collected."""
    log(f"store: old results were not deleted: {one_line(why)}", "warning")


def _log_all(stage: str, lines: Iterable[str], level: Level) -> None:
    for line in lines:
        log(f"{stage}: {one_line(line)}", level)
