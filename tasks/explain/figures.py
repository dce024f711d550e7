"""Figures over rows with intervals of the bootstrap, by which whole groups are drawn where rows have one. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.explanations import DrawnSwap, InputFigures, Interval, RowShapley, SwapFigures
from data_contracts.refs import InputName
from tasks.problems.intervals import CONFIDENCE, MIN_ROWS

DRAWS = 1000
Floats = NDArray[np.float64]


def draw_weights(rows: int, groups: Sequence[str] | None, seed: int) -> Floats | None:
    """(DRAWS, rows) how often each draw has each row, groups as a whole; None of too few rows or groups for an interval."""
    numbers = np.arange(rows) if groups is None else np.unique(np.array(groups), return_inverse=True)[1]
    count = int(numbers.max(initial=-1)) + 1
    if count < MIN_ROWS:
        return None
    drawn = np.random.default_rng([seed, rows]).multinomial(count, np.full(count, 1 / count), DRAWS)
    return drawn[:, numbers].astype(np.float64)


def mean_interval(values: Floats, groups: Sequence[str] | None, seed: int) -> Interval | None:
    """Of the mean of (N,) values: percentiles of the bootstrap (Efron & Tibshirani 1993)."""
    weights = draw_weights(len(values), groups, seed)
    if weights is None:
        return None
    return _ends(_weighted(weights, values))


def _weighted(weights: Floats, values: Floats) -> Floats:
    """(DRAWS,) weighted means; NaN of a draw without any of the rows."""
    total = weights.sum(axis=1)
    found: Floats = np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)
    return found


def _ends(drawn: Floats) -> Interval | None:
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def input_figures(
    names: Sequence[InputName],
    rows: Sequence[RowShapley],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    seed: int,
) -> tuple[tuple[InputFigures, ...], InputName | None]:
    """Of each input, and the one that dominates: its share leads by more than chance, and it helps to be right."""
    strength = np.array([[abs(row.shapley.get(name, 0.0)) for name in names] for row in rows])
    present = np.array([[name in row.shapley for name in names] for row in rows])
    toward = np.array([[(row.toward_truth or {}).get(name, np.nan) for name in names] for row in rows])
    weights = draw_weights(len(rows), groups, seed)
    shares = _shares(strength.sum(axis=0)[None])[0]
    drawn = None if weights is None else _shares(weights @ strength)
    found = []
    for place, name in enumerate(names):
        has, known = present[:, place], present[:, place] & np.isfinite(toward[:, place])
        own = np.where(has, strength[:, place], 0.0)
        right = np.where(known, toward[:, place], 0.0)
        found.append(
            InputFigures(
                input=name,
                rows=int(has.sum()),
                importance=float(own[has].mean()) if has.any() else 0.0,
                importance_interval=_interval(weights, own, has),
                share=float(shares[place]),
                share_interval=None if drawn is None else _ends(drawn[:, place]),
                toward_truth=float(right[known].mean()) if known.any() else None,
                toward_truth_interval=_interval(weights, right, known),
                by_label=_by_label(own, has, labels),
            )
        )
    return tuple(found), _dominant(found, drawn)


def _interval(weights: Floats | None, values: Floats, chosen: NDArray[np.bool_]) -> Interval | None:
    if weights is None or int(chosen.sum()) < MIN_ROWS:
        return None
    return _ends(_weighted(weights * chosen, values))


def _shares(sums: Floats) -> Floats:
    total = sums.sum(axis=1, keepdims=True)
    found: Floats = np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)
    return found


def _by_label(own: Floats, has: NDArray[np.bool_], labels: Sequence[str]) -> dict[str, float]:
    """Mean by true label, of labels in classes; rows without one are left out."""
    texts = np.array(labels)
    return {str(label): float(own[has & (texts == label)].mean()) for label in np.unique(texts[has]) if label}


def _dominant(found: Sequence[InputFigures], drawn: Floats | None) -> InputName | None:
    """The input whose share is the largest in all but few draws; None where its lead, or its help, may be chance."""
    if drawn is None or len(found) < 2:
        return None
    ranked = sorted(range(len(found)), key=lambda place: -found[place].share)
    lead = _ends(drawn[:, ranked[0]] - drawn[:, ranked[1]])
    helps = found[ranked[0]].toward_truth_interval
    if lead is None or lead[0] <= 0 or (helps is not None and helps[0] <= 0):
        return None
    return found[ranked[0]].input


def swap_figures(
    name: InputName, swaps: Sequence[DrawnSwap], groups: dict[str, str] | None, is_numeric: bool, seed: int
) -> SwapFigures | None:
    """Of one input; the swaps of a row count together. None where there are none."""
    ids = sorted({swap.id for swap in swaps})
    if not ids:
        return None
    flips = np.array([np.mean([swap.flipped for swap in swaps if swap.id == each]) for each in ids])
    own = None if groups is None else [groups[each] for each in ids]
    return SwapFigures(
        input=name,
        rows=len(ids),
        swaps=len(swaps),
        flip_rate=None if is_numeric else float(flips.mean()),
        flip_interval=None if is_numeric else mean_interval(flips, own, seed),
        follows_rate=None if is_numeric else float(np.mean([swap.follows for swap in swaps])),
        change=float(np.mean([abs(swap.change) for swap in swaps])),
    )
