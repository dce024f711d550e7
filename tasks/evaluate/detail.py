"""detail.json: what the report shows beyond the headline figures, as the problem of the first label column describes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from data_contracts.refs import InputName
from tasks.modalities import joined
from tasks.problems.problem import Mistake, Problem
from tasks.problems.scoring import AnyScorer

MISTAKES = 24


def describe(
    samples: pa.Table,
    problem: Problem,
    scored: AnyScorer,
    labels: tuple[str, ...],
    modalities: tuple[InputName, ...],
) -> dict[str, Any]:
    """The content of detail.json. Rows whose outputs are not finite are counted, and described as if they were 0.

    What is scored is over `labels`; `modalities` are those that the model reads.
    """
    worst, in_all = problem.mistakes(scored, labels, MISTAKES)
    return {
        "problem": problem.name,
        "labels": list(labels),
        **problem.details(scored, labels),
        "slices": problem.slices(scored, labels, np.array(present(samples, modalities))),
        "mistakes": _with_media(samples, worst, modalities),
        "mistakes_in_all": in_all,
        "not_finite": scored.not_finite,
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


def _with_media(samples: pa.Table, worst: list[Mistake], modalities: tuple[InputName, ...]) -> list[dict[str, Any]]:
    rows = samples.take(pa.array([each.row for each in worst], pa.int64())).select(["id", *modalities]).to_pylist()
    return [
        {
            "id": row["id"],
            "true": each.true,
            "predicted": each.predicted,
            "probability": each.probability,
            "true_probability": each.true_probability,
            "media": {name: row[name] for name in modalities if row[name] is not None},
        }
        for row, each in zip(rows, worst, strict=True)
    ]
