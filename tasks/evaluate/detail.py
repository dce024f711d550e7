"""What the pages of a run draw beyond the figures: per class, confusion, calibration, slices, the worst mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.eval_detail import (
    CalibrationBin,
    ClassFigures,
    EvalDetail,
    Mistake,
    PrecisionRecallCurve,
    Residuals,
    Slice,
)
from data_contracts.refs import InputName
from tasks.evaluate.intervals import wilson
from tasks.evaluate.metrics import Floats, Indices, Judged, calibration, confusion, judge, macro_figures, per_class
from tasks.evaluate.multilabel_regression import JudgedNumbers, JudgedSets, average_precision
from tasks.evaluate.scorers import Classes, Scorer, Weighed
from tasks.labels import join_labels
from tasks.modeling.predictions import present_modalities
from tasks.number_format import short_number

Inputs = tuple[InputName, ...]
MISTAKES = 24
POINTS = 1_000
"""Of more test rows so many are drawn, evenly spaced among them."""
BINS = 24
CURVE = 50
"""Places on the curve of precision over recall."""
CURVES = 8
"""Labels that have a curve: those with the most rows."""


def describe(samples: pa.Table, scorer: Scorer, labels: tuple[str, ...], modalities: Inputs) -> EvalDetail:
    """The detail of the first label column, by its problem. `modalities` are those that the model reads."""
    if isinstance(scorer, Classes):
        answers = scorer.answers
        return describe_classes(samples, answers.probabilities, scorer.truth, labels, modalities, answers.predicted)
    assert isinstance(scorer, Weighed)
    slices = tuple(
        Slice(by="modalities", value=value, n=len(rows), metrics=scorer.take(rows).score())
        for value, rows in _by_modalities(samples, modalities)
    )
    if isinstance(scorer.judged, JudgedNumbers):
        return _describe_numbers(samples, scorer.judged, slices, modalities)
    return _describe_label_sets(samples, scorer.judged, slices, labels, modalities)


def describe_classes(
    samples: pa.Table,
    probabilities: NDArray[np.floating[Any]],
    truth: Indices,
    labels: tuple[str, ...],
    modalities: Inputs,
    predicted: Indices | None = None,
) -> EvalDetail:
    """Of classes. Rows whose probabilities are not finite are counted, and scored as if they were 0.

    `probabilities` (N, C) and `truth` (N,) are over `labels`; `predicted` (N,) are the model's answers where they are not the
    most probable class.
    """
    finite = np.isfinite(probabilities).all(axis=1)
    judged = judge(np.where(finite[:, None], probabilities, 0), truth, predicted)
    by_modalities = [_slice_of_classes("modalities", *part, judged) for part in _by_modalities(samples, modalities)]
    by_class = [
        _slice_of_classes("class", labels[c], np.flatnonzero(judged.truth == c), judged)
        for c in np.unique(judged.truth)
    ]
    return EvalDetail(
        problem="multiclass",
        labels=labels,
        per_class=tuple(ClassFigures.model_validate(row) for row in per_class(judged, labels)),
        confusion=tuple(confusion(judged)),
        calibration=tuple(CalibrationBin.model_validate(row) for row in calibration(judged)),
        slices=(*by_modalities, *by_class),
        mistakes=_surest_mistakes(samples, judged, probabilities, labels, modalities),
        mistakes_in_all=int((~judged.correct).sum()),
        not_finite=int((~finite).sum()),
    )


def _by_modalities(samples: pa.Table, modalities: Inputs) -> list[tuple[str, Indices]]:
    """Each set of modalities present with its rows, the most frequent set first."""
    names = np.array(present_modalities(samples, modalities))
    values, counts = np.unique(names, return_counts=True)
    ordered = [str(values[i]) for i in np.argsort(-counts, kind="stable")]
    return [(value, np.flatnonzero(names == value)) for value in ordered]


def _slice_of_classes(by: Any, value: str, rows: Indices, judged: Judged) -> Slice:
    """Accuracy, with its Wilson interval, and macro F1."""
    right, n = judged.correct[rows], len(rows)
    counts = (
        np.bincount(judged.truth[rows][right], minlength=judged.classes)[None],
        np.bincount(judged.truth[rows], minlength=judged.classes)[None],
        np.bincount(judged.predicted[rows], minlength=judged.classes)[None],
    )
    correct = int(right.sum())
    metrics = {"accuracy": correct / n, "macro_f1": float(macro_figures(*counts)["macro_f1"][0])}
    return Slice(by=by, value=value, n=n, metrics=metrics, accuracy_interval=wilson(correct, n))


def _surest_mistakes(
    samples: pa.Table,
    judged: Judged,
    probabilities: NDArray[np.floating[Any]],
    labels: tuple[str, ...],
    modalities: Inputs,
) -> tuple[Mistake, ...]:
    """The mistakes that the model was surest of; of equals, the first row."""
    wrong = np.flatnonzero(~judged.correct)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")][:MISTAKES]
    return tuple(
        Mistake(
            id=row_id,
            true=labels[judged.truth[i]],
            predicted=labels[judged.predicted[i]],
            probability=float(judged.confidence[i]),
            true_probability=float(np.nan_to_num(probabilities[i, judged.truth[i]])),
            media=media,
        )
        for i, (row_id, media) in zip(worst, _rows(samples, worst, modalities), strict=True)
    )


def _describe_numbers(
    samples: pa.Table, judged: JudgedNumbers, slices: tuple[Slice, ...], modalities: Inputs
) -> EvalDetail:
    """Points (true, predicted), a histogram of the errors, and the rows with the largest."""
    errors = judged.predicted - judged.truth
    chosen = np.unique(np.linspace(0, judged.rows - 1, min(judged.rows, POINTS)).astype(int))
    counts, edges = np.histogram(errors, BINS)
    worst = np.argsort(-np.abs(errors), kind="stable")[:MISTAKES]
    texts = [(_number(judged.truth[n]), _number(judged.predicted[n])) for n in worst]
    return EvalDetail(
        problem="regression",
        labels=(),
        slices=slices,
        points=tuple((float(judged.truth[n]), float(judged.predicted[n])) for n in chosen),
        residuals=Residuals(counts=tuple(counts.tolist()), edges=tuple(edges.tolist())),
        mistakes=_mistakes(samples, worst, texts, modalities),
        mistakes_in_all=judged.rows,
    )


def _number(value: float) -> str:
    return short_number(float(value), digits=6)


def _describe_label_sets(
    samples: pa.Table, judged: JudgedSets, slices: tuple[Slice, ...], labels: tuple[str, ...], modalities: Inputs
) -> EvalDetail:
    """Per label its figures, for the most frequent ones a curve, and the rows with the most wrong labels."""
    wrong = (judged.given != judged.truth).sum(axis=1)
    worst = np.argsort(-wrong, kind="stable")[:MISTAKES]
    worst = worst[wrong[worst] > 0]
    names = np.asarray(labels, object)
    texts = [(join_labels(names[judged.truth[n]]), join_labels(names[judged.given[n]])) for n in worst]
    most = np.argsort(-judged.truth.sum(axis=0), kind="stable")[:CURVES]
    return EvalDetail(
        problem="multilabel",
        labels=labels,
        slices=slices,
        per_class=tuple(_label_figures(judged, place, label) for place, label in enumerate(labels)),
        pr_curves=tuple(
            PrecisionRecallCurve(label=labels[n], points=_curve(judged.probabilities[:, n], judged.truth[:, n]))
            for n in sorted(most)
            if judged.truth[:, n].any()
        ),
        mistakes=_mistakes(samples, worst, texts, modalities),
        mistakes_in_all=int((wrong > 0).sum()),
    )


def _label_figures(judged: JudgedSets, place: int, label: str) -> ClassFigures:
    predicted, truth = judged.given[:, place], judged.truth[:, place]
    hits, support, answers = int((predicted & truth).sum()), int(truth.sum()), int(predicted.sum())
    precision = average_precision(judged.probabilities[:, place], truth, np.ones((1, judged.rows)))[0]
    return ClassFigures(
        label=label,
        precision=hits / answers if answers else None,
        recall=hits / support if support else None,
        f1=2 * hits / (support + answers) if support + answers else 0.0,
        average_precision=float(precision) if np.isfinite(precision) else None,
        support=support,
        predicted=answers,
    )


def _curve(scores: Floats, truth: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """(recall, precision) at thresholds between different scores, thinned out to CURVE places."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits, seen = np.cumsum(truth[order])[last], (np.arange(len(order)) + 1)[last]
    kept = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), CURVE)).astype(int))
    return tuple((float(hits[n] / truth.sum()), float(hits[n] / seen[n])) for n in kept)


def _mistakes(
    samples: pa.Table, places: Indices, texts: Iterable[tuple[str, str]], modalities: Inputs
) -> tuple[Mistake, ...]:
    """The rows at these places, with the (true, predicted) text of each."""
    rows = _rows(samples, places, modalities)
    return tuple(
        Mistake(id=row_id, true=true, predicted=predicted, media=media)
        for (row_id, media), (true, predicted) in zip(rows, texts, strict=True)
    )


def _rows(samples: pa.Table, places: Indices, modalities: Inputs) -> list[tuple[str, dict[InputName, str]]]:
    """Id and media (input to digest) of the rows at these places."""
    rows = samples.take(places).select(["id", *modalities]).to_pylist()
    return [(row["id"], {name: row[name] for name in modalities if row[name] is not None}) for row in rows]
