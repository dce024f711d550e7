"""Which rows an epoch takes, in which order: all of them once, or drawn so that rare classes come as often as others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.modeling.targets import EncodedTargets
from tasks.problems.registry import problem_of

Chances = npt.NDArray[np.float64]


def epoch_order(rows: int, seed: int, epoch: int, chances: Chances | None = None) -> npt.NDArray[np.int64]:
    """(N,) the rows of an epoch in order: a permutation, or with `chances` (N,) as many draws with replacement."""
    generator = np.random.default_rng([seed, epoch, 2])
    if chances is None:
        return generator.permutation(rows)
    return generator.choice(rows, size=rows, replace=True, p=chances)


def row_chances(encoded: EncodedTargets) -> Chances | None:
    """(N,) the chance of every row for train.class_balance = sampler, by the first column that has classes or labels.

    Every class is drawn equally often. A row of several labels counts as its rarest one; rows without any, or unknown, are
    one class of their own. None where all columns are numbers.
    """
    for target, part in zip(encoded.targets.columns, encoded.parts, strict=True):
        groups = problem_of(target).sampling_groups(part.cpu().numpy())
        if groups is None:
            continue
        _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        chances = 1.0 / sizes[inverse]
        return np.asarray(chances / chances.sum(), np.float64)
    return None
