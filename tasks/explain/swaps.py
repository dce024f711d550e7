"""Counterfactual swaps: a row answered with one of its inputs taken from a row of another label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.explanations import DrawnSwap
from tasks.explain.encoded import Encoded
from tasks.explain.explainer import Explainer

SWAPS = 3
"""Of each input of each row."""


def swap_inputs(
    explainer: Explainer, encoded: Encoded, ids: Sequence[str], labels: Sequence[str], seed: int
) -> list[DrawnSwap]:
    """SWAPS of each input of each row, where there is another row with it; `labels` (N,) true ones, else the answers.

    Of classes and label sets the other row has another label; of numbers it is any other row.
    """
    question, fusion = explainer.question, explainer.fusion
    before = fusion.outputs(encoded)
    places, answers = question.places(before), question.answers(before)
    rows = np.arange(encoded.rows)
    found = []
    for number, name in enumerate(explainer.model.modalities):
        if len(explainer.model.modalities) < 2:
            break
        has = encoded.present[name]
        donors = _draw(has, None if question.is_numeric else np.array(labels), np.random.default_rng([seed, number]))
        for drawn in donors:
            own = drawn >= 0
            if not own.any():
                continue
            after = fusion.outputs(encoded.swapped(name, np.where(own, drawn, rows)))
            new = question.answers(after)
            change = after[rows, places] - before[rows, places]
            found += [
                DrawnSwap(
                    id=ids[row],
                    donor=ids[drawn[row]],
                    donor_label=labels[drawn[row]],
                    input=name,
                    answer=new[row],
                    flipped=new[row] != answers[row],
                    follows=new[row] == labels[drawn[row]],
                    change=float(change[row]),
                )
                for row in np.flatnonzero(own).tolist()
            ]
    return found


def _draw(has: NDArray[np.bool_], labels: NDArray[np.str_] | None, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """SWAPS times (N,) the row from which each takes an input, -1 where there is none."""
    able = np.flatnonzero(has)
    drawn = np.full((SWAPS, len(has)), -1, np.int64)
    for row in able:
        others = able[labels[able] != labels[row]] if labels is not None else able[able != row]
        if len(others):
            drawn[:, row] = rng.choice(others, SWAPS, replace=len(others) < SWAPS)
    return list(drawn)
