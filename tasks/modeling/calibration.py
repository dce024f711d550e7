"""Temperature scaling (Guo, Pleiss, Sun & Weinberger 2017): logits are divided by one number, chosen on validation rows. Pure
numpy.

The order of the classes stays, and with it the most probable one; only how sure the model says it is changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures are kept between these; trained networks need 0.5 to 5."""
FOLDS = 5
_STEPS = 60


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature, and the mean negative log-likelihood of the validation rows."""

    temperature: float
    nll: float
    """As the model is."""
    scaled_nll: float
    """With the temperature, on the rows that it was fitted to."""
    left_out_nll: float | None
    """Of each fifth of the rows under the temperature of the others; None: too few rows, or groups, to divide."""

    @property
    def helps(self) -> bool:
        """Whether it lowers the NLL of rows that it was not fitted to."""
        return self.left_out_nll is not None and self.left_out_nll < self.nll


def tune_temperature(
    logits: NDArray[np.floating[Any]], truth: NDArray[Any], groups: Indices | None = None
) -> TemperatureFit | None:
    """The temperature of a label column, and whether it helps on rows of other groups; None without any row.

    `logits` (N, C) with `truth` (N,) the classes' positions, or (N, L) with (N, L) which labels a row has. `groups` (N,): rows
    of one group stay in one fold; None: each row is one of its own.
    """
    groups = np.arange(len(logits)) if groups is None else groups
    logits, truth, groups = as_classes(logits, truth, groups)
    if not len(logits) or logits.shape[1] < 2:
        return None
    temperature = fit_temperature(logits, truth)
    _, numbers = np.unique(groups, return_inverse=True)
    folds = numbers % FOLDS
    losses = np.empty(len(logits))
    count = int(folds.max()) + 1
    for fold in range(count if count > 1 else 0):
        inside = folds == fold
        apart = fit_temperature(logits[~inside], truth[~inside])
        losses[inside] = row_losses(logits[inside], truth[inside], apart)
    return TemperatureFit(
        temperature,
        float(row_losses(logits, truth, 1.0).mean()),
        float(row_losses(logits, truth, temperature).mean()),
        float(losses.mean()) if count > 1 else None,
    )


def as_classes(
    logits: NDArray[np.floating[Any]], truth: NDArray[Any], groups: Indices
) -> tuple[Floats, Indices, Indices]:
    """The same rows as one class each: a label is one of two classes, absent with logit 0, and there."""
    if truth.ndim == 1:
        return logits.astype(np.float64), truth.astype(np.int64), groups
    flat = logits.astype(np.float64).ravel()
    return (
        np.stack([np.zeros_like(flat), flat], axis=1),
        (truth > 0).astype(np.int64).ravel(),
        np.repeat(groups, truth.shape[1]),
    )


def row_losses(logits: Floats, truth: Indices, temperature: float) -> Floats:
    """(N,) -log of the true class's probability under a temperature."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    true = np.take_along_axis(scaled, truth[:, None], axis=1)[:, 0]
    return np.asarray(np.log(np.exp(scaled).sum(axis=1)) - true, np.float64)


def fit_temperature(logits: Floats, truth: Indices) -> float:
    """The temperature with the least NLL over these rows and one more: an average row whose truth is the best wrong class.

    Without that row the temperature of rows that are all right would be 0, and the model certain of everything; as Platt's
    targets do (1999), it says that one more row may well be wrong. The NLL is convex in 1 / temperature: Newton's method,
    kept between two ends. 1 where it does not depend on the temperature.
    """
    logits = logits - logits.max(axis=1, keepdims=True)
    true = np.take_along_axis(logits, truth[:, None], axis=1)[:, 0]
    others = logits.copy()
    np.put_along_axis(others, truth[:, None], -np.inf, axis=1)
    aim = float(true.sum() + others.max(axis=1).mean())
    rows = len(logits) + 1

    def slope(inverse: float) -> tuple[float, float]:
        """First and second derivative of the NLL by 1 / temperature."""
        weights = np.exp(logits * inverse)
        weights /= weights.sum(axis=1, keepdims=True)
        mean = (weights * logits).sum(axis=1)
        spread = (weights * logits**2).sum(axis=1) - mean**2
        each = rows / len(logits)
        return float(each * mean.sum()) - aim, float(each * spread.sum())

    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(1.0)[1] <= 0:
        return 1.0
    if slope(high)[0] <= 0:
        return LOWEST
    if slope(low)[0] >= 0:
        return HIGHEST
    inverse = 1.0
    for _ in range(_STEPS):
        first, second = slope(inverse)
        low, high = (inverse, high) if first < 0 else (low, inverse)
        step = inverse - first / second if second > 0 else low
        step = step if low < step < high else (low + high) / 2
        if abs(step - inverse) < 1e-9 * inverse:
            break
        inverse = step
    return 1 / inverse
