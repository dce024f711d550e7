"""The pictures of the digits data set: a real 8x8 handwritten digit, enlarged, shifted, and degraded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 32
"""Side of the square picture."""
SHIFT_PX = 2
"""Largest shift to each side; what leaves the picture is lost, what enters is black."""
CLEAR_NOISE = (4.0, 16.0)
"""Standard deviation of the noise, in grey levels of 255."""
CLEAR_CONTRAST = (0.6, 1.0)
FOG_NOISE = (40.0, 80.0)
"""Poor pictures, first kind: little contrast under strong noise."""
FOG_CONTRAST = (0.15, 0.40)
BLUR_PX = (4.0, 6.0)
"""Second kind: standard deviation of a Gaussian blur, plus a share of the fog's noise."""
BLOT_SHARE = (0.45, 0.70)
"""Third kind: a grey bar over this share of the picture, from one side."""
_INK_LEVELS = 16
"""load_digits counts ink from 0 to 16."""


def draw_digit(ink: NDArray[np.float64], *, poor: bool, rng: np.random.Generator) -> Image.Image:
    """The (8, 8) ink counts, 0 to 16, as a grey picture, white on black; when poor, in fog, blurred, or blotted."""
    small = Image.fromarray(np.round(ink * (255 / _INK_LEVELS)).astype(np.uint8))
    grey = np.asarray(small.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), np.float64)
    grey = _shift(grey, *(int(rng.integers(-SHIFT_PX, SHIFT_PX + 1)) for _ in range(2)))
    if not poor:
        return _expose(grey * rng.uniform(*CLEAR_CONTRAST), rng.uniform(*CLEAR_NOISE), rng)
    fault = rng.integers(3)
    if fault == 0:
        return _expose(grey * rng.uniform(*FOG_CONTRAST), rng.uniform(*FOG_NOISE), rng)
    if fault == 1:
        return _expose(_blur(grey, rng.uniform(*BLUR_PX)), FOG_NOISE[0] / 2, rng)
    return _expose(_blot(grey * rng.uniform(*CLEAR_CONTRAST), rng), rng.uniform(*CLEAR_NOISE), rng)


def _shift(grey: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    padded = np.pad(grey, SHIFT_PX)
    top, left = SHIFT_PX - down, SHIFT_PX - right
    return padded[top : top + SIDE_PX, left : left + SIDE_PX]


def _blur(grey: NDArray[np.float64], sigma_px: float) -> NDArray[np.float64]:
    at = np.arange(SIDE_PX)
    weights = np.exp(-0.5 * ((at[:, None] - at[None, :]) / sigma_px) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights @ grey @ weights.T)


def _blot(grey: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A bar of even grey from one of the four sides."""
    turns = int(rng.integers(4))
    turned = np.rot90(grey, turns).copy()
    turned[: round(rng.uniform(*BLOT_SHARE) * SIDE_PX)] = rng.uniform(64, 192)
    return np.rot90(turned, -turns)


def _expose(grey: NDArray[np.float64], noise: float, rng: np.random.Generator) -> Image.Image:
    """Adds noise, on a mid-dark ground so that it goes both ways, and rounds to grey levels."""
    exposed = 24 + grey * (215 / 255) + rng.normal(0, noise, grey.shape)
    return Image.fromarray(np.round(np.clip(exposed, 0, 255)).astype(np.uint8))
