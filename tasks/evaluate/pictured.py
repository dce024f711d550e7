"""detail.json: what the report draws beyond the figures, by the problem of the first label column."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_contracts.refs import InputName
from tasks.evaluate import detail
from tasks.evaluate.metrics import Floats
from tasks.evaluate.multilabel_regression import JudgedNumbers, JudgedSets, average_precision
from tasks.evaluate.scorers import Classes, Scorer, Weighed
from tasks.labels import join_labels
from tasks.number_format import short_number
from tasks.samples import Samples

POINTS = 1_000
"""Of more test rows so many are drawn, evenly spaced among them."""
BINS = 24
CURVE = 50
"""Places on the curve of precision over recall."""
CURVES = 8
"""Labels that have a curve: those with the most rows."""


def describe(
    samples: Samples, scorer: Scorer, labels: tuple[str, ...], modalities: tuple[InputName, ...]
) -> dict[str, Any]:
    """The content of detail.json; `problem` says what it holds."""
    if isinstance(scorer, Classes):
        given = scorer.answers
        found = detail.describe(samples, given.probabilities, scorer.truth, labels, modalities, given.predicted)
        return {"problem": "multiclass", **found}
    assert isinstance(scorer, Weighed)
    shared = {"labels": list(labels), "slices": _slices(samples, scorer, modalities), "not_finite": 0}
    if isinstance(scorer.judged, JudgedNumbers):
        return {"problem": "regression", **shared, **_numbers(samples, scorer.judged, modalities)}
    return {"problem": "multilabel", **shared, **_sets(samples, scorer.judged, labels, modalities)}


def _slices(samples: Samples, scorer: Weighed, modalities: tuple[InputName, ...]) -> list[dict[str, Any]]:
    """The figures per set of modalities present, the most frequent first."""
    names = np.array(detail.present(samples, modalities))
    values, counts = np.unique(names, return_counts=True)
    ordered = [str(values[n]) for n in np.argsort(-counts, kind="stable")]
    return [
        {"by": "modalities", "value": value, "n": int((names == value).sum())}
        | scorer.take(np.flatnonzero(names == value)).score()
        for value in ordered
    ]


def _numbers(samples: Samples, judged: JudgedNumbers, modalities: tuple[InputName, ...]) -> dict[str, Any]:
    """Points (true, predicted), a histogram of the errors, and the rows with the largest."""
    errors = judged.predicted - judged.truth
    chosen = np.unique(np.linspace(0, judged.rows - 1, min(judged.rows, POINTS)).astype(int))
    counts, edges = np.histogram(errors, BINS)
    worst = np.argsort(-np.abs(errors), kind="stable")[: detail.MISTAKES]
    said = [
        (short_number(float(judged.truth[n]), digits=6), short_number(float(judged.predicted[n]), digits=6))
        for n in worst
    ]
    return {
        "points": [[float(judged.truth[n]), float(judged.predicted[n])] for n in chosen],
        "residuals": {"counts": counts.tolist(), "edges": edges.tolist()},
        "mistakes": _rows(samples, worst, said, modalities),
        "mistakes_in_all": judged.rows,
    }


def _sets(
    samples: Samples, judged: JudgedSets, labels: tuple[str, ...], modalities: tuple[InputName, ...]
) -> dict[str, Any]:
    """Per label its figures, for the most frequent ones a curve, and the rows with the most wrong labels."""
    wrong = (judged.given != judged.truth).sum(axis=1)
    worst = np.argsort(-wrong, kind="stable")[: detail.MISTAKES]
    names = np.asarray(labels, object)
    said = [(join_labels(names[judged.truth[n]]), join_labels(names[judged.given[n]])) for n in worst if wrong[n]]
    most = np.argsort(-judged.truth.sum(axis=0), kind="stable")[:CURVES]
    return {
        "per_class": [_label(judged, place, label) for place, label in enumerate(labels)],
        "pr_curves": [
            {"label": labels[n], "points": _curve(judged.probabilities[:, n], judged.truth[:, n])}
            for n in sorted(most)
            if judged.truth[:, n].any()
        ],
        "mistakes": _rows(samples, worst[: len(said)], said, modalities),
        "mistakes_in_all": int((wrong > 0).sum()),
    }


def _label(judged: JudgedSets, place: int, label: str) -> dict[str, Any]:
    given, truth = judged.given[:, place], judged.truth[:, place]
    hits, support, answers = int((given & truth).sum()), int(truth.sum()), int(given.sum())
    precision = average_precision(judged.probabilities[:, place], truth, np.ones((1, judged.rows)))[0]
    return {
        "label": label,
        "precision": hits / answers if answers else None,
        "recall": hits / support if support else None,
        "f1": 2 * hits / (support + answers) if support + answers else 0.0,
        "average_precision": float(precision) if np.isfinite(precision) else None,
        "support": support,
        "predicted": answers,
    }


def _curve(scores: Floats, truth: np.ndarray[Any, np.dtype[np.bool_]]) -> list[list[float]]:
    """[recall, precision] at thresholds between different scores, thinned out to CURVE places."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits, seen = np.cumsum(truth[order])[last], (np.arange(len(order)) + 1)[last]
    kept = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), CURVE)).astype(int))
    return [[float(hits[n] / truth.sum()), float(hits[n] / seen[n])] for n in kept]


def _rows(
    samples: Samples,
    places: np.ndarray[Any, np.dtype[np.int64]],
    said: list[tuple[str, str]],
    modalities: tuple[InputName, ...],
) -> list[dict[str, Any]]:
    rows = samples.take(places).table(["id", *modalities]).to_pylist()
    return [
        {
            "id": row["id"],
            "true": true,
            "predicted": predicted,
            "probability": None,
            "true_probability": None,
            "media": {name: row[name] for name in modalities if row[name] is not None},
        }
        for row, (true, predicted) in zip(rows, said, strict=True)
    ]
