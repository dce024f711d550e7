"""Exact Shapley values over the inputs of a row (Shapley 1953): all coalitions are valued, none sampled. Imports no torch."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.typing import NDArray

MOST_INPUTS = 10
"""2^10 coalitions are about a thousand forward passes of the fusion for each row."""
Floats = NDArray[np.float64]


def coalitions(inputs: int) -> NDArray[np.bool_]:
    """(2^inputs, inputs): which inputs each coalition has. Number s holds input i where bit i of s is set; 0 has none."""
    numbers = np.arange(1 << inputs)
    return (numbers[:, None] >> np.arange(inputs) & 1).astype(bool)


def shapley_values(values: Floats) -> Floats:
    """(2^K, N) the value of every coalition for N rows, as `coalitions` orders them -> (N, K) what each input adds.

    The values of a row sum to that of all inputs minus that of none (efficiency). An input that changes no coalition's value,
    as one that a row lacks, adds 0.
    """
    inputs = len(values).bit_length() - 1
    members = coalitions(inputs)
    sizes = members.sum(axis=1)
    found = np.zeros((values.shape[1], inputs))
    for place in range(inputs):
        without = np.flatnonzero(~members[:, place])
        chances = np.array([factorial(n) * factorial(inputs - n - 1) for n in sizes[without]]) / factorial(inputs)
        found[:, place] = chances @ (values[without | 1 << place] - values[without])
    return found
