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
from tasks.labels import join_labels
from tasks.modeling.card import ModelCard
from tasks.number_format import number_text
from tasks.store import canonical_json


def decide(probabilities: NDArray[np.floating[Any]], offsets: Sequence[float] | None = None) -> NDArray[np.int64]:
    """(N, C) probabilities to (N,) answers: the greatest log-probability plus offset, the first of equals.

    What is not a number counts as 0. A class of probability 0 is no answer, whatever its offset.
    """
    given = np.nan_to_num(probabilities)
    if offsets is None:
        return np.asarray(given.argmax(axis=1), np.int64)
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(given.astype(np.float64)) + np.asarray(offsets)).argmax(axis=1), np.int64)


def decide_labels(
    probabilities: NDArray[np.floating[Any]], thresholds: Sequence[float] | None = None
) -> NDArray[np.bool_]:
    """(N, L) probabilities of labels that exclude nothing to (N, L): which are given, those from 0.5 or their threshold on."""
    limits = np.full(probabilities.shape[1], 0.5) if thresholds is None else np.asarray(thresholds)
    return np.asarray(np.nan_to_num(probabilities) >= limits)


def column_slices(targets: Sequence[Target]) -> tuple[slice, ...]:
    """Where the outputs of each label column lie."""
    ends = np.cumsum([target.width for target in targets]).tolist()
    return tuple(slice(end - target.width, end) for target, end in zip(targets, ends, strict=True))


def output_names(card: ModelCard) -> list[str]:
    """What each output is called: labels of the first column by themselves, a column of numbers by its name, and those of
    further columns as `column: label`."""
    names: list[str] = []
    for place, target in enumerate(card.label_targets):
        own = target.labels or (target.name,)
        names += own if place == 0 or target.problem == "regression" else [f"{target.name}: {label}" for label in own]
    return names


def answer_column(
    card: ModelCard, place: int, outputs: NDArray[np.floating[Any]]
) -> tuple[list[str], NDArray[np.float32] | None]:
    """The answers of a model in one label column, as text, and the probability of each; None for numbers.

    `outputs` (N, outputs) is all that the model gave out. Of a set of labels the probability is the product over all labels.
    """
    targets = card.label_targets
    target, part = targets[place], outputs[:, column_slices(targets)[place]]
    if target.problem == "regression":
        # As short as a float32 can be told: 0.3, not the 0.30000001192092896 that it is as a float64.
        return [number_text(float(str(np.float32(value)))) for value in part[:, 0]], None
    if target.problem == "multilabel":
        given = decide_labels(part, card.thresholds if place == 0 else None)
        chances = np.where(given, part, 1 - part).astype(np.float64).prod(axis=1)
        names = [join_labels(np.asarray(target.labels, object)[row]) for row in given]
        return names, chances.astype(np.float32)
    best = decide(part, card.offsets if place == 0 else None)
    chances = np.take_along_axis(part, best[:, None], axis=1)[:, 0]
    return [target.labels[index] for index in best], chances.astype(np.float32)


def answer_others(card: ModelCard, outputs: NDArray[np.floating[Any]]) -> list[str | None]:
    """The answers in the label columns after the first, for every row as a JSON object; None where there are none."""
    names = [target.name for target in card.label_targets[1:]]
    columns = [answer_column(card, place + 1, outputs)[0] for place in range(len(names))]
    if not columns:
        return [None] * len(outputs)
    return [canonical_json(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
