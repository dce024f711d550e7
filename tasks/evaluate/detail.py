"""What the pages of a run draw beyond the figures, as the problem of the first label column describes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_contracts.eval_detail import EvalDetail, Mistake
from data_contracts.refs import InputName
from tasks.modeling.predictions import present_modalities
from tasks.problems.problem import Problem, WrongRow
from tasks.problems.scoring import AnyScorer
from tasks.samples import Samples

MISTAKES = 24


def describe(
    samples: Samples, problem: Problem, scored: AnyScorer, labels: tuple[str, ...], modalities: tuple[InputName, ...]
) -> EvalDetail:
    """The detail of the first label column. Rows whose outputs are not finite are counted, and scored as if these were 0.

    What is scored is over `labels`; `modalities` are those that the model reads.
    """
    worst, in_all = problem.mistakes(scored, labels, MISTAKES)
    return EvalDetail(
        problem=problem.name,
        labels=labels,
        slices=tuple(problem.slices(scored, labels, np.array(present_modalities(samples, modalities)))),
        mistakes=_with_media(samples, worst, modalities),
        mistakes_in_all=in_all,
        not_finite=scored.not_finite,
        **problem.details(scored, labels),
    )


def _with_media(samples: Samples, worst: Sequence[WrongRow], modalities: tuple[InputName, ...]) -> tuple[Mistake, ...]:
    rows = samples.take(np.array([each.row for each in worst], np.int64)).table(["id", *modalities]).to_pylist()
    return tuple(
        Mistake(
            id=row["id"],
            true=each.true,
            predicted=each.predicted,
            probability=each.probability,
            true_probability=each.true_probability,
            media={name: row[name] for name in modalities if row[name] is not None},
        )
        for row, each in zip(rows, worst, strict=True)
    )
