"""What is known of an answer beside the answer: the one place where thresholds of model.json meet rows. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.modeling.card import ModelCard
from tasks.modeling.conformal import prediction_sets
from tasks.modeling.decision import answer_column, column_slices
from tasks.modeling.selective import NEVER
from tasks.modeling.uncertainty import Thresholds, Uncertainty
from tasks.problems.registry import problem_of


@dataclass(frozen=True)
class RowUncertainty:
    """What is known of one answer; None where the model does not say, or not of rows with these modalities."""

    prediction_set: tuple[str, ...] | None = None
    """Labels, the most probable first."""
    prediction_interval: tuple[float, float] | None = None
    abstained: bool | None = None
    out_of_distribution: bool | None = None


def assess_rows(
    card: ModelCard,
    outputs: NDArray[np.floating[Any]],
    present: Sequence[str],
    energies: NDArray[np.floating[Any]] | None = None,
) -> list[RowUncertainty]:
    """What is known of the answers to N rows, in their order.

    `outputs` (N, outputs) is all that the model gave out, `present` what each row has of what the model reads, `energies`
    (N,) their energy scores; without them no row is flagged.
    """
    known = card.uncertainty
    if known is None:
        return [RowUncertainty()] * len(outputs)
    found: list[RowUncertainty] = [RowUncertainty()] * len(outputs)
    for name in dict.fromkeys(present):
        rows = np.flatnonzero(np.array(present) == name)
        of_set = known.thresholds.get(name, Thresholds(rows=0))
        flagged = None if energies is None or of_set.energy is None else energies[rows] < of_set.energy
        columns = _columns(card, known, of_set, outputs[rows])
        for place, row in enumerate(rows):
            found[row] = RowUncertainty(
                **{column: values[place] for column, values in columns.items()},
                out_of_distribution=None if flagged is None else bool(flagged[place]),
            )
    return found


def _columns(
    card: ModelCard, known: Uncertainty, of_set: Thresholds, outputs: NDArray[np.floating[Any]]
) -> Mapping[str, Sequence[Any]]:
    """The fields of RowUncertainty that follow from the outputs, of rows with one set of modalities."""
    target = card.label_targets[0]
    part = outputs[:, column_slices(card.label_targets)[0]]
    columns: dict[str, Sequence[Any]] = {}
    labels, probability = answer_column(card, 0, outputs)
    if of_set.prediction_set is not None and problem_of(target).is_numeric:
        width = of_set.prediction_set
        columns["prediction_interval"] = [(float(value) - width, float(value) + width) for value in part[:, 0]]
    elif of_set.prediction_set is not None:
        places = {label: place for place, label in enumerate(target.labels)}
        answers = np.array([places[label] for label in labels], np.int64)
        members = prediction_sets(part, of_set.prediction_set, answers)
        columns["prediction_set"] = [
            tuple(target.labels[place] for place in np.argsort(-row, kind="stable") if inside[place])
            for row, inside in zip(part, members, strict=True)
        ]
    if known.max_risk is not None and probability is not None:
        least = NEVER if of_set.answer is None else of_set.answer
        columns["abstained"] = [not value > least for value in probability.tolist()]
    return columns
