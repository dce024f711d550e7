"""A window of one picture moved until it shows what a region of another does, and how alike they then are.

Gauss-Newton steps on the four ends of the window, with gain and offset of the brightness (Baker & Matthews 2004, "Lucas-Kanade
20 Years On: A Unifying Framework"), for all pairs at once. Sampling is two products of matrices a pair.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_STEPS = 4
_STEP = 0.05
_OUTSIDE = 0.02
_SMALLEST = 0.5
"""Shares of a side: a step's largest, how far a window may leave the picture, and what it holds at least."""


def sample(levels: Array, windows: Array, cells: int) -> Array:
    """(P, cells, cells) of float32 (P, H, W), bilinear. windows: (P, 4) left, right, upper, lower, as shares of the sides."""
    across, down = (_weights(windows[:, at : at + 2], levels.shape[2 - at // 2], cells) for at in (0, 2))
    sampled: Array = down @ levels @ across.transpose(0, 2, 1)
    return sampled


def _weights(ends: Array, pixels: int, cells: int) -> Array:
    """(P, cells, pixels): how much of each pixel is in each cell."""
    inner = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    places = (ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * inner) * pixels - 0.5
    away = np.abs(np.clip(places, 0, pixels - 1)[..., None] - np.arange(pixels, dtype=np.float32))
    weights: Array = np.maximum(1 - away, 0, dtype=np.float32)
    return weights


def align(pictures: Array, copies: Array, windows: Array, regions: Array, cells: int) -> tuple[Array, Array, Array]:
    """The best windows found from (P, 4) first ones, what they show, and what the regions of the copies do.

    pictures, copies: float32 (P, H, W); shown: (P, cells, cells) each.
    """
    target = sample(copies, regions, cells)
    goal = _centred(target)
    goal /= _length(goal)
    best, best_shown, reached = windows.copy(), np.zeros_like(target), np.full(len(windows), -np.inf, np.float32)
    for step in range(_STEPS + 1):
        shown = sample(pictures, windows, cells)
        now = (_centred(shown) * goal).sum(axis=1) / _length(_centred(shown))[:, 0]
        better = now > reached
        reached[better], best[better], best_shown[better] = now[better], windows[better], shown[better]
        if step < _STEPS:
            windows = _bounded(windows + np.clip(_improve(shown, goal, windows), -_STEP, _STEP))
    return best, best_shown, target


def _improve(shown: Array, goal: Array, windows: Array) -> Array:
    """(P, 4): by how much to move the ends of the windows."""
    cells = shown.shape[1]
    inner = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    down, across = (slope * cells for slope in np.gradient(shown, axis=(1, 2)))
    across /= (windows[:, 1] - windows[:, 0])[:, None, None]
    down /= (windows[:, 3] - windows[:, 2])[:, None, None]
    centred = _centred(shown)
    columns = [across * (1 - inner), across * inner, down * (1 - inner)[:, None], down * inner[:, None]]
    slopes = np.stack([*(column.reshape(len(shown), -1) for column in columns), centred, np.ones_like(centred)])
    slopes = slopes.transpose(1, 0, 2)
    square = slopes @ slopes.transpose(0, 2, 1)
    damping = 1e-3 * np.trace(square, axis1=1, axis2=2)[:, None, None] / len(columns) + 1e-3
    left = slopes @ (goal * _length(centred) - centred)[..., None]
    solved: Array = np.linalg.solve(square + damping * np.eye(square.shape[1], dtype=np.float32), left)[:, :4, 0]
    return solved


def _bounded(windows: Array) -> Array:
    windows = np.clip(windows, -_OUTSIDE, 1 + _OUTSIDE)
    starts = np.minimum(windows[:, [0, 2]], 1 - _SMALLEST)
    ends = np.maximum(windows[:, [1, 3]], starts + _SMALLEST)
    return np.stack([starts[:, 0], ends[:, 0], starts[:, 1], ends[:, 1]], axis=1)


def _centred(levels: Array) -> Array:
    """(P, all) less their mean."""
    flat = levels.reshape(len(levels), -1)
    centred: Array = flat - flat.mean(axis=1, keepdims=True)
    return centred


def _length(flat: Array) -> Array:
    """(P, 1), never 0."""
    length: Array = np.maximum(np.sqrt((flat**2).sum(axis=1, keepdims=True)), 1e-3)
    return length


def correlate(one: Array, other: Array) -> Array:
    """(P,) of (P, ...) each."""
    a, b = _centred(one), _centred(other)
    product: Array = (a * b).sum(axis=1) / (_length(a) * _length(b))[:, 0]
    return product


def detail_of(shown: Array) -> Array:
    """(P, all): the differences of neighbouring cells, along and across."""
    return np.concatenate([np.diff(shown, axis=axis).reshape(len(shown), -1) for axis in (1, 2)], axis=1)


def blur(levels: Array) -> Array:
    """float32 (N, H, W), smoothed by 1-2-1 along both sides: what a resampled copy has lost shall not count."""
    soft = levels.astype(np.float32)
    for axis in (1, 2):
        lines = np.moveaxis(soft, axis, 0)
        around = np.concatenate([lines[:1], lines, lines[-1:]])
        soft = np.moveaxis((around[:-2] + 2 * lines + around[2:]) / 4, 0, axis)
    return soft
