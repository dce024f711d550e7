"""The model card: what a reader must know before using the model, filled from the run's own records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_contracts.modalities import modality_of
from data_contracts.refs import CheckpointRef, EvalReport, InputName, ValidatedRef, Verdict
from data_contracts.training_history import HISTORY, TrainingHistory
from data_contracts.uncertainty import MeasuredShare, UncertaintyFigures
from tasks.config import RunConfig
from tasks.display_table import DisplayTable
from tasks.escaping import markdown_text
from tasks.modalities import spec_of
from tasks.modeling.card import Compression
from tasks.problems.metric import TOO_FEW_ROWS
from tasks.problems.registry import figure_text, get_problem
from tasks.publish.card_metadata import write_metadata
from tasks.publish.chain import Link

TEMPLATE = "model_card.md.j2"
_LABEL_CHARS = 100
_COLUMNS_CHARS = 1000


def write_card(
    checkpoint: CheckpointRef,
    report: EvalReport,
    verdict: Verdict,
    valid: ValidatedRef,
    config: RunConfig,
    chain: Sequence[Link] = (),
    compression: Compression | None = None,
    history: TrainingHistory | None = None,
) -> str:
    """The card as Markdown. It holds no time and no path: the same model, evaluated the same way, has the same card.

    `chain`: what the verdict rests on, which is quoted. `compression`: of what version it was made, and how.
    `history`: of it, whether pictures are answered with their mirror images, and which model training went on from.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Markdown, not HTML: what comes from the data is made inert by `markdown_text`, here or in a cell.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, autoescape=False
    )
    environment.filters |= {"figure": _figure, "cell": markdown_text}
    problem = get_problem(report.problem)
    return environment.get_template(TEMPLATE).render(
        metadata=write_metadata(checkpoint, report, valid, config),
        name=config.name,
        alias=config.publish.alias,
        modalities=checkpoint.modalities,
        example=", ".join(_example(name, valid) for name in checkpoint.modalities),
        inputs=_inputs(checkpoint, valid, config),
        what=problem.describe_model(", ".join(checkpoint.modalities), len(checkpoint.labels)),
        columns=[_column(name, report) for name in report.metrics if name != "test"],
        baseline=report.baselines,
        labels=[markdown_text(label, _LABEL_CHARS) for label in checkpoint.labels],
        model_sha256=checkpoint.model_sha256,
        train_key=checkpoint.train_key,
        compression=compression,
        members=history.members if history else (),
        flip=history.test_time_flip if history else None,
        start=history.start if history and history.start and history.start.is_continued else None,
        best_epoch=checkpoint.best_epoch,
        epochs=checkpoint.epochs,
        counts=valid.clean.counts,
        corrections=valid.clean.corrections,
        splits=valid.clean.splits,
        dataset_sha256=valid.sha256,
        rows=report.rows,
        tables={"figures": _figures(report), "by_modalities": _by_modalities(report), "rules": _rules(verdict)},
        chain=[(link.uri.partition("/")[0], link.sha256, link.code) for link in chain],
        uncertainty=None if report.uncertainty is None else _uncertainty(report.uncertainty),
        temperature=report.uncertainty.temperature if report.uncertainty else None,
        reason=markdown_text(verdict.reason),
    )


def history_of(folder: Path) -> TrainingHistory:
    """What training recorded; a compressed model has no history."""
    path = folder / HISTORY
    return TrainingHistory.model_validate_json(path.read_bytes()) if path.is_file() else TrainingHistory()


def _figures(report: EvalReport) -> DisplayTable:
    return DisplayTable(
        ("metric", "value", "interval (95 %)"),
        tuple(
            (name, _figure(value, name), "–" if value is None else _bounds(report.intervals.get(name), name))
            for name, value in report.metrics.get("test", {}).items()
        ),
    )


def _uncertainty(figures: UncertaintyFigures) -> DisplayTable:
    """What was promised on validation rows, beside what the test rows say."""
    found: list[tuple[str, float, MeasuredShare | None]] = []
    if figures.sets is not None:
        what = "prediction sets" if figures.sets.single is not None else "prediction intervals"
        found.append((f"{what} hold the truth, at least", 1 - figures.sets.alpha, figures.sets.covered))
    if figures.selective is not None:
        found.append(
            ("wrong answers where it does not abstain, at most", figures.selective.max_risk, figures.selective.wrong)
        )
        found.append(("answered, the others abstained from", math.nan, figures.selective.answered))
    if figures.outliers is not None:
        most = figures.outliers.false_positive_rate
        found.append(("usual rows flagged as out of distribution, at most", most, figures.outliers.flagged))
    return DisplayTable(
        ("promise", "level", "on the test rows", "interval (95 %)", "n"),
        tuple(
            (what, _figure(level, "accuracy"), "–", "–", 0)
            if share is None
            else (
                what,
                _figure(level, "accuracy"),
                _figure(share.share, "accuracy"),
                _bounds(share.interval, "accuracy"),
                share.rows,
            )
            for what, level, share in found
        ),
    )


def _by_modalities(report: EvalReport) -> DisplayTable:
    names = [metric.name for metric in get_problem(report.problem).metrics if metric.compact]
    rows = (
        (present, *(_figure(line.get(name), name) for name in names)) for present, line in report.by_modalities.items()
    )
    return DisplayTable(("given", *names), tuple(rows))


def _rules(verdict: Verdict) -> DisplayTable:
    return DisplayTable(
        ("rule", "value", "threshold", "baseline", "n", "outcome"),
        tuple(
            (
                rule.rule,
                _figure(rule.value, rule.metric),
                _figure(rule.threshold, rule.metric),
                rule.baseline,
                rule.n,
                rule.outcome,
            )
            for rule in verdict.rules
        ),
    )


def _column(name: str, report: EvalReport) -> str:
    """A further label column, and how many of the test rows tell something of it."""
    known = report.known_rows.get(name)
    coverage = "" if known is None or known == report.rows else f" (known in {known} of the test rows)"
    return markdown_text(name, _LABEL_CHARS) + coverage


def _inputs(checkpoint: CheckpointRef, valid: ValidatedRef, config: RunConfig) -> list[str]:
    """Of several inputs of one modality what each was called, and which pass through one encoder; of a table its columns."""
    kinds = Counter(modality_of(name) for name in checkpoint.modalities)
    lines = [
        f"`{name}` is the column {markdown_text(valid.clean.columns.get(name, name), _LABEL_CHARS)}"
        for name in checkpoint.modalities
        if kinds[modality_of(name)] > 1
    ]
    lines += [
        f"`{name}` is {len(valid.clean.column_types)} columns: "
        f"{markdown_text(valid.clean.columns.get(name, name), _COLUMNS_CHARS)}"
        for name in checkpoint.modalities
        if spec_of(name).joined_columns() is not None
    ]
    return lines + [f"one encoder for all of {modality}" for modality in config.encoders.shared if kinds[modality] > 1]


def _example(name: InputName, valid: ValidatedRef) -> str:
    """An input as Python gives it; of a table its first column."""
    if spec_of(name).joined_columns() is not None:
        return f"{next(iter(valid.clean.column_types), name)!r}: ..."
    return f'"{name}": ' + ('"a sentence"' if spec_of(name).has_tokens else f'"path/of/{name}"')


def _figure(value: float | None, metric: str) -> str:
    return "–" if value is None or not math.isfinite(value) else figure_text(value, metric, decimals=4)


def _bounds(interval: tuple[float, float] | None, metric: str) -> str:
    return TOO_FEW_ROWS if interval is None else f"{_figure(interval[0], metric)} to {_figure(interval[1], metric)}"
