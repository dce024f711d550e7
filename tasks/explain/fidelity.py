"""Whether attributions are true to the model: parts are taken away, or put back, the strongest first, against random orders
(RISE, Petsiuk et al. 2018; Samek et al. 2017). Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.explanations import FidelityCurve, RowCurves
from data_contracts.refs import InputName
from tasks.explain.figures import mean_interval

SHARES = tuple(step / 8 for step in range(9))
"""Of the parts that are taken away or put back."""
RANDOM_ORDERS = 4
LEAST_PARTS = 3
"""Of fewer an order says little: a text of one word."""
Floats = NDArray[np.float64]
Without = Callable[[NDArray[np.bool_]], Floats]
"""(B, parts) True for parts that are taken away -> (B,) what is explained."""


def try_orders(name: InputName, parts: Floats, without: Without, rng: np.random.Generator) -> RowCurves | None:
    """The curves of one input of one row, whose parts add what `parts` (P,) says; None where there are too few parts."""
    count = len(parts)
    if count < LEAST_PARTS:
        return None
    orders = [np.argsort(-parts, kind="stable")]
    orders += [rng.permutation(count) for _ in range(RANDOM_ORDERS)]
    taken = np.concatenate([_lines(order, deletion) for order in orders for deletion in (True, False)])
    found = without(taken).reshape(len(orders), 2, len(SHARES))
    return RowCurves(
        input=name,
        deletion=_numbers(found[0, 0]),
        insertion=_numbers(found[0, 1]),
        random_deletion=_numbers(found[1:, 0].mean(axis=0)),
        random_insertion=_numbers(found[1:, 1].mean(axis=0)),
    )


def _lines(order: NDArray[np.int64], deletion: bool) -> NDArray[np.bool_]:
    """(SHARES, parts) what is away after each share of an order: deletion begins with nothing, insertion with everything."""
    counts = np.round(np.array(SHARES) * len(order)).astype(int)
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    reached = rank[None] < counts[:, None]
    return reached if deletion else ~reached


def _numbers(values: Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def join_curves(
    name: InputName, rows: Sequence[RowCurves], groups: Sequence[str] | None, seed: int
) -> FidelityCurve | None:
    """The mean curves of an input over rows, and how much area lies between the two orders; None where no row has any."""
    if not rows:
        return None
    kinds = ("deletion", "insertion", "random_deletion", "random_insertion")
    curves = {kind: np.array([getattr(row, kind) for row in rows]) for kind in kinds}
    deletion = _area(curves["random_deletion"]) - _area(curves["deletion"])
    insertion = _area(curves["insertion"]) - _area(curves["random_insertion"])
    means = {kind: _numbers(found.mean(axis=0)) for kind, found in curves.items()}
    return FidelityCurve(
        input=name,
        rows=len(rows),
        shares=SHARES,
        **means,
        deletion_gain=float(deletion.mean()),
        deletion_interval=mean_interval(deletion, groups, seed),
        insertion_gain=float(insertion.mean()),
        insertion_interval=mean_interval(insertion, groups, seed),
    )


def _area(curves: Floats) -> Floats:
    """(N, SHARES) -> (N,) the area below each."""
    found: Floats = np.trapezoid(curves, np.array(SHARES), axis=1)
    return found
