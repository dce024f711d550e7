"""What the report shows beyond the headline figures: per class, confusion, calibration, slices, the worst mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import InputName
from tasks.evaluate.intervals import wilson
from tasks.evaluate.metrics import Indices, Judged, calibration, confusion, judge, macro_figures, per_class
from tasks.modalities import joined
from tasks.samples import Samples

MISTAKES = 24


def describe(
    samples: Samples,
    probabilities: NDArray[np.floating[Any]],
    truth: Indices,
    labels: tuple[str, ...],
    modalities: tuple[InputName, ...],
    predicted: Indices | None = None,
) -> dict[str, Any]:
    """The content of detail.json. Rows whose probabilities are not finite are counted, and judged as if they were 0.

    `probabilities` (N, C) and `truth` (N,) are over `labels`; `modalities` are those that the model reads; `predicted`
    (N,) are its answers where they are not the most probable class.
    """
    finite = np.isfinite(probabilities).all(axis=1)
    judged = judge(np.where(finite[:, None], probabilities, 0), truth, predicted)
    return {
        "labels": list(labels),
        "per_class": per_class(judged, labels),
        "confusion": [list(cell) for cell in confusion(judged)],
        "calibration": calibration(judged),
        "slices": _slices(judged, labels, present(samples, modalities)),
        "mistakes": _mistakes(samples, judged, probabilities, labels, modalities),
        "mistakes_in_all": int((~judged.correct).sum()),
        "not_finite": int((~finite).sum()),
    }


def present(samples: Samples, modalities: tuple[InputName, ...]) -> list[str]:
    """Which of the modalities each sample has: `image+audio`, or `none`."""
    has = {name: samples.has(name) for name in modalities}
    names: dict[tuple[bool, ...], str] = {}
    found = []
    for row in zip(*has.values(), strict=True):
        if row not in names:
            names[row] = joined([name for name, there in zip(has, row, strict=True) if there]) or "none"
        found.append(names[row])
    return found


def _slices(judged: Judged, labels: tuple[str, ...], sets: list[str]) -> list[dict[str, Any]]:
    """Accuracy with its Wilson interval: per set of modalities present, most frequent first, and per class."""
    names = np.array(sets)
    values, counts = np.unique(names, return_counts=True)
    ordered = [str(values[i]) for i in np.argsort(-counts, kind="stable")]
    by_set = [_slice("modalities", value, judged, names == value) for value in ordered]
    by_class = [_slice("class", labels[c], judged, judged.truth == c) for c in np.unique(judged.truth)]
    return by_set + by_class


def _slice(by: str, value: str, judged: Judged, rows: NDArray[np.bool_]) -> dict[str, Any]:
    correct, n = int(judged.correct[rows].sum()), int(rows.sum())
    counts = (
        np.bincount(judged.truth[rows & judged.correct], minlength=judged.classes)[None],
        np.bincount(judged.truth[rows], minlength=judged.classes)[None],
        np.bincount(judged.predicted[rows], minlength=judged.classes)[None],
    )
    return {
        "by": by,
        "value": value,
        "n": n,
        "accuracy": correct / n,
        "interval": list(wilson(correct, n) or ()),
        "macro_f1": float(macro_figures(*counts)["macro_f1"][0]),
    }


def _mistakes(
    samples: Samples,
    judged: Judged,
    probabilities: NDArray[np.floating[Any]],
    labels: tuple[str, ...],
    modalities: tuple[InputName, ...],
) -> list[dict[str, Any]]:
    """The mistakes that the model was surest of; of equals, the first row."""
    wrong = np.flatnonzero(~judged.correct)
    worst = wrong[np.argsort(-judged.confidence[wrong], kind="stable")][:MISTAKES]
    rows = samples.take(worst).table(["id", *modalities]).to_pylist()
    return [
        {
            "id": row["id"],
            "true": labels[judged.truth[i]],
            "predicted": labels[judged.predicted[i]],
            "probability": float(judged.confidence[i]),
            "true_probability": float(np.nan_to_num(probabilities[i, judged.truth[i]])),
            "media": {name: row[name] for name in modalities if row[name] is not None},
        }
        for row, i in zip(rows, worst, strict=True)
    ]
