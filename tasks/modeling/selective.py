"""When a model should rather not answer: a threshold on the probability of its answer, for a stated risk. Pure numpy.

The risk is the share of wrong answers among those given (Geifman & El-Yaniv 2017, "Selective classification for deep neural
networks"); the threshold is found by fixed-sequence testing (Angelopoulos, Bates, Candes, Jordan & Lei 2021, "Learn then
test").
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""With this chance over validation rows the risk of the threshold is at most the stated one."""
SPARE_MISTAKES = 3
"""The first test has rows for so many mistakes, where half of the rows are enough for it: at the fewest rows that could pass,
one mistake would end the search."""
STEPS = 40
NEVER = 1.0
"""The threshold that no probability is greater than."""


def risk_threshold(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_], max_risk: float) -> float:
    """The confidence that an answer must be greater than; NEVER where no threshold can be shown to keep the risk.

    The rows are tested in an order that is fixed beforehand: the k surest ones, for growing k, until for the first time more
    than `max_risk` of all answers as sure could be wrong (the upper Clopper-Pearson bound at 95 %). Given the confidence of
    row k + 1, those above it are independent draws of rows above this threshold, so the bound is exact; and where the risk
    falls with the confidence, only the test at the first threshold that is too low can err: no correction for many is due.
    `confidence` and `right` (N,).
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_, wrong = confidence[order], np.cumsum(~right[order])
    rows = len(order)
    # Equals are answered together: as many rows as are at least as sure as the k-th.
    surest = np.searchsorted(-sorted_, -sorted_, side="right")
    found = NEVER
    for k in dict.fromkeys(int(surest[k - 1]) for k in _sequence(rows, max_risk)):
        if upper_bound(int(wrong[k - 1]), k) > max_risk:
            break
        found = float(sorted_[k]) if k < rows else 0.0
    return found


def _sequence(rows: int, max_risk: float) -> list[int]:
    starts = [rows_needed(max_risk, mistakes) for mistakes in range(SPARE_MISTAKES + 1)]
    if rows < starts[0]:
        return []
    first = max((start for start in starts if start <= rows // 2), default=starts[0])
    return sorted({*range(first, rows, max(1, math.ceil(rows / STEPS))), rows})


def rows_needed(max_risk: float, mistakes: int = 0) -> int:
    """The least number of answers, with so many mistakes among them, that show a risk of at most `max_risk`."""
    low, high = mistakes, mistakes + 1
    while upper_bound(mistakes, high) > max_risk:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if upper_bound(mistakes, middle) > max_risk else (low, middle)
    return high


def upper_bound(mistakes: int, rows: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided upper bound of Clopper & Pearson (1934) of a share of which `mistakes` in `rows` were seen."""
    from scipy.special import betaincinv

    return 1.0 if mistakes >= rows else float(betaincinv(mistakes + 1, rows - mistakes, confidence))


def risk_curve(
    confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_], most: int = 200
) -> list[tuple[float, float]]:
    """(coverage, risk) for falling thresholds: the share of rows that are answered, and of wrong ones among these. Rows of one
    confidence are answered together; at most `most` points, the last one with every row."""
    order = np.argsort(-confidence, kind="stable")
    sorted_, wrong = confidence[order], np.cumsum(~right[order])
    ends = np.flatnonzero(np.append(sorted_[1:] < sorted_[:-1], True))
    if len(ends) > most:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, most).round().astype(np.int64))]
    return [((end + 1) / len(order), float(wrong[end] / (end + 1))) for end in ends.tolist()]


def area_under_risk(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float:
    """The area under the risk-coverage curve (AURC; Geifman, Uziel & El-Yaniv 2019): the mean risk over all coverages, where
    the k surest of N rows are answered, k = 1 ... N. Rows of one confidence are in no order: each is as wrong as all are."""
    order = np.argsort(-confidence, kind="stable")
    sorted_, wrong = confidence[order], (~right[order]).astype(np.float64)
    _, first, inverse, counts = np.unique(-sorted_, return_index=True, return_inverse=True, return_counts=True)
    mean = np.add.reduceat(wrong, first) / counts
    return float((mean[inverse].cumsum() / np.arange(1, len(order) + 1)).mean())
