"""Two samples, one question: could both come from one distribution? One p-value a test, and how far they are apart.

Each test is valid without assumptions on the distribution: Kolmogorov and Smirnov's for numbers, a chi-square for categories
and the energy distance for vectors; where a formula would not hold, the pooled rows are dealt out anew (a permutation test).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 1999
"""The smallest p-value is 1 / 2000: after Holm's correction over 50 tests still 0.025."""
MIN_EXPECTED = 5.0
"""Cochran's rule: below it in any cell the chi-square formula is not trusted."""
_BLOCK = 500  # permutations at a time: an indicator matrix of pooled rows by this


class Found(NamedTuple):
    """What a test found."""

    p: float
    effect: float
    """0: the same; 1: nothing in common."""


def compare_numbers(reference: NDArray[Any], new: NDArray[Any]) -> Found:
    """Two-sample Kolmogorov-Smirnov. The effect is its D: the largest difference between the shares of rows below a value.

    With ties the p-value is too large, never too small.
    """
    from scipy.stats import ks_2samp

    result = ks_2samp(np.asarray(reference, np.float64), np.asarray(new, np.float64), method="asymp")
    return Found(float(result.pvalue), float(result.statistic))


def compare_categories(reference: Mapping[str, int], new: Mapping[str, int], rng: np.random.Generator) -> Found:
    """Chi-square on the 2 x K table. The effect is the total variation: the share of rows that would have to change category.

    Where a cell is expected below 5 times, the p-value comes from tables with the same margins, drawn at random.
    """
    names = sorted(name for name in {*reference, *new} if reference.get(name, 0) + new.get(name, 0))
    table = np.array([[side.get(name, 0) for name in names] for side in (reference, new)], np.int64)
    shares = table / table.sum(axis=1, keepdims=True)
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2)
    if len(names) < 2:
        return Found(1.0, 0.0)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    observed = float(((table - expected) ** 2 / expected).sum())
    if expected.min() >= MIN_EXPECTED:
        from scipy.stats import chi2

        return Found(float(chi2.sf(observed, len(names) - 1)), effect)
    drawn = rng.multivariate_hypergeometric(table.sum(axis=0), int(table[1].sum()), size=PERMUTATIONS, method="count")
    # With the margins fixed, the deviation of one row is that of the other.
    null = ((drawn - expected[1]) ** 2 * (1 / expected[0] + 1 / expected[1])).sum(axis=1)
    return Found(permutation_p(observed, null), effect)


def compare_vectors(reference: NDArray[Any], new: NDArray[Any], rng: np.random.Generator) -> Found:
    """Energy distance of (N, D) and (M, D) with a pooled permutation test (Székely and Rizzo, 2004).

    The effect is Székely and Rizzo's coefficient of inhomogeneity, unbiased and cut at 0: the share of the mean distance
    between the samples that the distances within them do not explain.
    """
    pooled = np.concatenate([reference, new]).astype(np.float64)
    count, total = len(reference), len(pooled)
    distances = pairwise_distances(pooled)
    observed, effect = _energy(distances, count)
    marks = np.zeros(total, np.float32)
    marks[:count] = 1.0
    flat = distances.astype(np.float32)
    row_sums, everything = flat.sum(axis=1, dtype=np.float64), float(flat.sum(dtype=np.float64))
    null = np.empty(PERMUTATIONS)
    for start in range(0, PERMUTATIONS, _BLOCK):
        size = min(_BLOCK, PERMUTATIONS - start)
        dealt = rng.permuted(np.broadcast_to(marks, (size, total)), axis=1)
        within = np.einsum("bi,bi->b", dealt @ flat, dealt, dtype=np.float64)
        across = dealt @ row_sums - within
        rest = everything - within - 2 * across
        null[start : start + size] = _statistic(across, within, rest, count, total - count)
    return Found(permutation_p(observed, null), effect)


def pairwise_distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, N) Euclidean distances."""
    squares = (rows**2).sum(axis=1)
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * rows @ rows.T, 0.0))
    np.fill_diagonal(distances, 0.0)
    return distances


def _energy(distances: NDArray[np.float64], count: int) -> tuple[float, float]:
    """The unbiased statistic, and its share of the mean distance between the samples."""
    within = float(distances[:count, :count].sum())
    rest = float(distances[count:, count:].sum())
    across = float(distances[:count, count:].sum())
    others = len(distances) - count
    statistic = float(_statistic(across, within, rest, count, others))
    between = across / (count * others)
    return statistic, 0.0 if between == 0 else max(0.0, min(1.0, statistic / (2 * between)))


def _statistic(across: Any, within: Any, rest: Any, count: int, others: int) -> Any:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'|, from sums over all ordered pairs within and all pairs across."""
    return 2 * across / (count * others) - within / (count * (count - 1)) - rest / (others * (others - 1))


def permutation_p(observed: float, null: NDArray[Any]) -> float:
    """The share of dealings at least as extreme, the observed one among them (Phipson and Smyth, 2010)."""
    close = 1e-6 * max(1e-12, abs(observed))  # float32 sums: what differs by less is the same
    return float((1 + np.count_nonzero(null >= observed - close)) / (1 + len(null)))
