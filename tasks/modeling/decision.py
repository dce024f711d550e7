"""The one place where probabilities become an answer: evaluation, prediction and the served model decide alike.

By default the most probable class is the answer. A model whose thresholds were tuned carries in model.json one offset per
class, added to its log-probability before the classes are compared; the probabilities themselves stay as they are.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Target
from tasks.modeling.card import ModelCard
from tasks.problems.registry import problem_of
from tasks.store import canonical_json


def column_slices(targets: Sequence[Target]) -> tuple[slice, ...]:
    """Where the outputs of each label column lie."""
    widths = [problem_of(target).width(target) for target in targets]
    return tuple(slice(end - width, end) for width, end in zip(widths, np.cumsum(widths).tolist(), strict=True))


def output_names(card: ModelCard) -> list[str]:
    """What each output is called: labels of the first column by themselves, those of further ones as `column: label`, and one
    that stands for its column by the column's name."""
    names: list[str] = []
    for place, target in enumerate(card.label_targets):
        for output in problem_of(target).outputs_of(target):
            names.append(f"{target.name}: {output}" if place and output else output or target.name)
    return names


def answer_column(
    card: ModelCard, place: int, outputs: NDArray[np.floating[Any]]
) -> tuple[list[str], NDArray[np.float32] | None]:
    """The answers of a model in one label column, as text, and the probability of each; None where its problem has none.

    `outputs` (N, outputs) is all that the model gave out.
    """
    targets = card.label_targets
    target, part = targets[place], outputs[:, column_slices(targets)[place]]
    return problem_of(target).answer(part, target, card.tuned if place == 0 else None)


def answer_others(card: ModelCard, outputs: NDArray[np.floating[Any]]) -> list[str | None]:
    """The answers in the label columns after the first, for every row as a JSON object; None where there are none."""
    names = [target.name for target in card.label_targets[1:]]
    columns = [answer_column(card, place + 1, outputs)[0] for place in range(len(names))]
    if not columns:
        return [None] * len(outputs)
    return [canonical_json(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
