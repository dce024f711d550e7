"""What a model answered in one label column beside the truth, ready to be scored by its problem's metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.modeling.card import ModelCard
from tasks.modeling.decision import column_slices
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer


def judge_column(
    card: ModelCard, place: int, outputs: Probabilities, cells: Sequence[str | None], labels: tuple[str, ...]
) -> tuple[AnyScorer, Indices]:
    """A model's answers in the label column at this place, and the positions of the rows whose truth is known.

    `outputs` (N, outputs) is all that the model gave out, `cells` the N true texts, `labels` all labels to judge over: the
    model's own first.
    """
    targets = card.label_targets
    target, part = targets[place], np.asarray(outputs[:, column_slices(targets)[place]])
    known = np.flatnonzero([cell is not None for cell in cells])
    scorer = problem_of(target).scorer(part, cells, target, labels, card.tuned if place == 0 else None)
    return scorer.take(known), known
