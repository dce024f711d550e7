"""What a model answered in one label column beside the truth, ready to be scored by its problem's metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.labels import to_indices, to_members, to_numbers
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import column_slices, decide, decide_labels
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.multiclass_metrics import ClassScorer
from tasks.problems.multilabel_metrics import LabelScorer
from tasks.problems.regression import NumberScorer
from tasks.problems.scoring import AnyScorer, align


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
    if target.problem == "multiclass":
        offsets = card.offsets if place == 0 else None
        # Decided over the model's own labels, as it decides when it serves, then moved to `labels`.
        positions = {label: index for index, label in enumerate(labels)}
        moved = np.array([positions[label] for label in target.labels], np.int64)
        classes = ClassScorer(
            align(part, target.labels, labels), to_indices(cells, labels), moved[decide(part, offsets)]
        )
        return classes.take(known), known
    if target.problem == "regression":
        numbers = NumberScorer(part[:, 0].astype(np.float64), to_numbers(cells), target.mean)
        return numbers.take(known), known
    given = decide_labels(part, card.thresholds if place == 0 else None)
    wide = align(given.astype(np.float64), target.labels, labels) > 0
    there = np.nan_to_num(to_members(cells, labels)) > 0
    chances = align(part, target.labels, labels).astype(np.float64)
    return LabelScorer(chances, wide, there).take(known), known
