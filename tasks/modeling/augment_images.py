"""Random changes of pictures and frames: where they are (one resampling for all of it), and how they look."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tasks.config import TrainConfig
from tasks.modeling.color_ops import RECOLOURINGS
from tasks.modeling.rng import below, spread, uniform

TURN = math.radians(8.0)
ZOOM = 0.1
SHIFT = 0.1  # of the side
ASPECT = math.log(4 / 3)  # of a random resized crop, as torchvision's and Inception's
# TrivialAugment, the wide space (Müller and Hutter, 2021). Shifts are shares of the side: theirs are of 32 pixels.
LEVELS = 31
SHEAR = 0.99
SLIDE = 0.45  # AutoAugment's 150 of 331 pixels
TRIVIAL_TURN = math.radians(135.0)
_MOVES = ("stay", "shear_x", "shear_y", "slide_x", "slide_y", "turn")
OPERATIONS = (*_MOVES, *RECOLOURINGS)


def change_pictures(x: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """(B, N, 3, H, W) in [0, 1], N frames a clip or 1 -> the same shape; all frames of a clip are changed alike."""
    size = len(x)
    if config.min_crop_scale < 1:
        theta = _crop(size, config.min_crop_scale, config.horizontal_flip, generator)
    else:
        theta = _jitter(size, config.horizontal_flip, generator)
    if not config.trivial_augment:
        return resample(x, theta)
    operation, level = below(size, len(OPERATIONS), generator), below(size, LEVELS, generator) / (LEVELS - 1)
    signed = torch.where(uniform(size, generator) < 0.5, -level, level)
    x = resample(x, _compose(theta, _trivial_moves(operation, signed)))
    for place, (name, recolour) in enumerate(RECOLOURINGS.items(), start=len(_MOVES)):
        rows = (operation == place).nonzero().squeeze(1)
        if rows.numel():
            strength = signed if name in ("brightness", "colour", "contrast", "sharpness") else level
            on_device = rows.to(x.device)
            x = x.index_copy(0, on_device, recolour(x[on_device], strength[rows].to(x.device)))
    return x


def resample(x: Tensor, theta: Tensor) -> Tensor:
    """(B, N, C, H, W) seen through (B, 2, 3) maps from new to old coordinates in [-1, 1], the border repeated."""
    flat = x.flatten(1, 2)
    grid = functional.affine_grid(theta.to(x.device), list(flat.shape), align_corners=False)
    return functional.grid_sample(flat, grid.to(x.dtype), padding_mode="border", align_corners=False).view_as(x)


def _jitter(size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Turned, zoomed and shifted a little; mirrored half the time with `flip`."""
    turn, zoom, right, down = (spread(size, generator) for _ in range(4))
    turn, scale = turn * TURN, 1 + zoom * ZOOM
    side = _sides(size, flip, generator)
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    return _matrix([cos * side, -sin, right * 2 * SHIFT], [sin * side, cos, down * 2 * SHIFT])


def _crop(size: int, least: float, flip: bool, generator: torch.Generator) -> Tensor:
    """A random resized crop: `least` to all of the area, any place inside, aspect 3:4 to 4:3; mirrored as above."""
    area, aspect, right, down = (uniform(size, generator), *(spread(size, generator) for _ in range(3)))
    area, aspect = least + (1 - least) * area, torch.exp(aspect * ASPECT / 2)
    wide, high = (area.sqrt() * aspect).clamp(max=1), (area.sqrt() / aspect).clamp(max=1)
    zero, side = torch.zeros(size), _sides(size, flip, generator)
    return _matrix([wide * side, zero, right * (1 - wide)], [zero, high, down * (1 - high)])


def _sides(size: int, flip: bool, generator: torch.Generator) -> Tensor:
    """(size,) -1 for those that are mirrored, else 1."""
    if not flip:
        return torch.ones(size)
    return torch.where(uniform(size, generator) < 0.5, -1.0, 1.0)


def _trivial_moves(operation: Tensor, strength: Tensor) -> Tensor:
    """(B, 2, 3) maps of the geometric operations; those of the others leave everything in its place."""
    amount = [torch.where(operation == place, strength, 0.0) for place in range(len(_MOVES))]
    cos, sin = torch.cos(amount[5] * TRIVIAL_TURN), torch.sin(amount[5] * TRIVIAL_TURN)
    return _matrix(
        [cos, -sin + amount[1] * SHEAR, amount[3] * 2 * SLIDE], [sin + amount[2] * SHEAR, cos, amount[4] * 2 * SLIDE]
    )


def _matrix(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Two rows of three (B,) each -> (B, 2, 3)."""
    return torch.stack([torch.stack(first, 1), torch.stack(second, 1)], 1)


def _compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The map that takes `inner` first: both (B, 2, 3)."""
    linear = outer[:, :, :2] @ inner
    return torch.cat([linear[:, :, :2], linear[:, :, 2:] + outer[:, :, 2:]], dim=2)
