"""What the report shows beyond the headline figures: per class, confusion, calibration, slices, the worst mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.refs import InputName
from tasks.modalities import joined
from tasks.problems.multiclass_metrics import ClassScorer, calibration, confusion, macro_f1, per_class
from tasks.problems.scoring import wilson

MISTAKES = 24


def describe(
    samples: pa.Table, scored: ClassScorer, labels: tuple[str, ...], modalities: tuple[InputName, ...]
) -> dict[str, Any]:
    """The content of detail.json. Rows whose probabilities are not finite are counted, and judged as if they were 0.

    What is scored is over `labels`; `modalities` are those that the model reads.
    """
    finite = np.isfinite(scored.probabilities).all(axis=1)
    return {
        "labels": list(labels),
        "per_class": per_class(scored, labels),
        "confusion": [list(cell) for cell in confusion(scored)],
        "calibration": calibration(scored),
        "slices": _slices(scored, labels, present(samples, modalities)),
        "mistakes": _mistakes(samples, scored, labels, modalities),
        "mistakes_in_all": int((~scored.correct).sum()),
        "not_finite": int((~finite).sum()),
    }


def present(samples: pa.Table, modalities: tuple[InputName, ...]) -> list[str]:
    """Which of the modalities each sample has: `image+audio`, or `none`."""
    has = {name: np.asarray(samples[name].is_valid()) for name in modalities}
    names: dict[tuple[bool, ...], str] = {}
    found = []
    for row in zip(*has.values(), strict=True):
        if row not in names:
            names[row] = joined([name for name, there in zip(has, row, strict=True) if there]) or "none"
        found.append(names[row])
    return found


def _slices(scored: ClassScorer, labels: tuple[str, ...], sets: list[str]) -> list[dict[str, Any]]:
    """Accuracy with its Wilson interval: per set of modalities present, most frequent first, and per class."""
    names = np.array(sets)
    values, counts = np.unique(names, return_counts=True)
    ordered = [str(values[i]) for i in np.argsort(-counts, kind="stable")]
    by_set = [_slice("modalities", value, scored, names == value) for value in ordered]
    by_class = [_slice("class", labels[c], scored, scored.truth == c) for c in np.unique(scored.truth)]
    return by_set + by_class


def _slice(by: str, value: str, scored: ClassScorer, rows: NDArray[np.bool_]) -> dict[str, Any]:
    correct, n = int(scored.correct[rows].sum()), int(rows.sum())
    return {
        "by": by,
        "value": value,
        "n": n,
        "accuracy": correct / n,
        "interval": list(wilson(correct, n) or ()),
        "macro_f1": float(macro_f1(scored.count(np.flatnonzero(rows)[None]))[0]),
    }


def _mistakes(
    samples: pa.Table, scored: ClassScorer, labels: tuple[str, ...], modalities: tuple[InputName, ...]
) -> list[dict[str, Any]]:
    """The mistakes that the model was surest of; of equals, the first row."""
    wrong = np.flatnonzero(~scored.correct)
    worst = wrong[np.argsort(-scored.confidence[wrong], kind="stable")][:MISTAKES]
    rows = samples.take(worst).select(["id", *modalities]).to_pylist()
    return [
        {
            "id": row["id"],
            "true": labels[scored.truth[i]],
            "predicted": labels[scored.predicted[i]],
            "probability": float(scored.confidence[i]),
            "true_probability": float(np.nan_to_num(scored.probabilities[i, scored.truth[i]])),
            "media": {name: row[name] for name in modalities if row[name] is not None},
        }
        for row, i in zip(rows, worst, strict=True)
    ]
