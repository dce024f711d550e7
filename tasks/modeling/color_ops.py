"""TrivialAugment's operations on colours, a strength for every picture: (B, N, 3, H, W) in [0, 1], (B,) -> the same shape.

They are torchvision's (transforms.v2.functional) with one call for a whole batch, and all frames of a clip alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional

_GREY = (0.2989, 0.5870, 0.1140)  # ITU-R BT.601, as torchvision's
_STEPS = 255.0


def change_brightness(x: Tensor, strength: Tensor) -> Tensor:
    """Brighter by a share of itself; -1 would be black."""
    return (x * (1 + _wide(strength))).clamp(0, 1)


def change_colour(x: Tensor, strength: Tensor) -> Tensor:
    """Towards grey for a negative strength, away from it for a positive one."""
    return _blend(x, _grey(x), strength)


def change_contrast(x: Tensor, strength: Tensor) -> Tensor:
    """Towards or away from the mean grey of the clip."""
    return _blend(x, _grey(x).mean(dim=(1, 2, 3, 4), keepdim=True), strength)


def change_sharpness(x: Tensor, strength: Tensor) -> Tensor:
    """Towards or away from a 3x3 blur; the outermost pixels stay."""
    weights = torch.ones(3, 3, device=x.device, dtype=x.dtype)
    weights[1, 1] = 5.0
    kernel = (weights / weights.sum()).expand(3, 1, 3, 3)
    blurred = x.clone()
    inner = functional.conv2d(x.flatten(0, 1), kernel, groups=3)
    blurred[..., 1:-1, 1:-1] = inner.view(*x.shape[:3], *inner.shape[-2:])
    return _blend(x, blurred, strength)


def posterize(x: Tensor, strength: Tensor) -> Tensor:
    """8 bits a channel for strength 0, 2 for strength 1."""
    size = 2.0 ** _wide((strength * 6).round())
    return torch.floor(_levels(x) / size) * size / _STEPS


def solarize(x: Tensor, strength: Tensor) -> Tensor:
    """What is at least as bright as 1 - strength becomes its negative."""
    return torch.where(x >= 1 - _wide(strength), 1 - x, x)


def stretch_contrast(x: Tensor, strength: Tensor) -> Tensor:
    """Every channel of a clip from 0 to 1; one without any difference stays. The strength is not used."""
    low, high = x.amin(dim=(1, 3, 4), keepdim=True), x.amax(dim=(1, 3, 4), keepdim=True)
    span = high - low
    return torch.where(span > 0, (x - low) / torch.where(span > 0, span, 1.0), x)


def equalize(x: Tensor, strength: Tensor) -> Tensor:
    """Every channel of a clip with a flat histogram of 256 levels, as Pillow computes it. The strength is not used."""
    levels = _levels(x).long().transpose(1, 2).flatten(2).flatten(0, 1)  # (B * 3, N * H * W)
    offsets = torch.arange(len(levels), device=x.device).unsqueeze(1) * 256
    counts = torch.bincount((levels + offsets).flatten(), minlength=len(levels) * 256).view(-1, 256)
    sums = counts.cumsum(1)
    brightest = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (sums[:, -1:] - brightest) // 255
    table = (functional.pad(sums[:, :-1], (1, 0)) + step // 2) // step.clamp(min=1)
    table = torch.where(step == 0, torch.arange(256, device=x.device), table.clamp(max=255))
    new = table.gather(1, levels).view(len(x), 3, x.shape[1], *x.shape[3:]).transpose(1, 2)
    return new.to(x.dtype) / _STEPS


RECOLOURINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "brightness": change_brightness,
        "colour": change_colour,
        "contrast": change_contrast,
        "sharpness": change_sharpness,
        "posterize": posterize,
        "solarize": solarize,
        "autocontrast": stretch_contrast,
        "equalize": equalize,
    }
)


def _wide(strength: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1, 1)."""
    return strength.view(-1, 1, 1, 1, 1)


def _grey(x: Tensor) -> Tensor:
    """(B, N, 1, H, W)"""
    weights = torch.tensor(_GREY, device=x.device, dtype=x.dtype).view(3, 1, 1)
    return (x * weights).sum(dim=2, keepdim=True)


def _blend(x: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    """`other` for strength -1, `x` for 0, as far beyond for 1."""
    return (other + (x - other) * (1 + _wide(strength))).clamp(0, 1)


def _levels(x: Tensor) -> Tensor:
    """The nearest of 256 whole levels."""
    return (x.clamp(0, 1) * _STEPS).round()
