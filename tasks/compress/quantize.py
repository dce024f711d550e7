"""Weights in fewer bits: each tensor rounded to the nearest of the numbers that its scale allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from tasks.modeling.packed_weights import GROUP, SCALE, SHAPE, pack_int4

Bits = Literal["float16", "int8", "int4"]
LEAST_WEIGHTS = 1024
"""Smaller tensors stay as they are: norms and biases, on which much depends, and little space."""


def pack_weights(weights: Mapping[str, Tensor], bits: Bits) -> dict[str, Tensor]:
    """The tensors as `tasks/modeling/packed_weights.py` reads them; of matrices and kernels those with many weights packed.

    In 4 bits only matrices are: kernels of convolutions, whose channels have few weights to spare, get 8 (mobilenet_v2 lost 20
    points in 4).
    """
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if tensor.ndim < 2 or tensor.numel() < LEAST_WEIGHTS or not tensor.is_floating_point():
            found[name] = tensor
        elif bits == "float16":
            found[name] = tensor.half()
        elif bits == "int8" or tensor.ndim > 2:
            found[name], found[name + SCALE] = _to_int8(tensor.float())
        else:
            found[name], found[name + SCALE] = _to_int4(tensor.float())
            found[name + SHAPE] = torch.tensor(tensor.shape, dtype=torch.int64)
    return found


def _to_int8(weights: Tensor) -> tuple[Tensor, Tensor]:
    """(C, ...) -> the same in int8, and (C,) the largest of each channel / 127."""
    flat = weights.flatten(1)
    scale = (flat.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    return (flat / scale[:, None]).round().clamp(-127, 127).to(torch.int8).view(weights.shape), scale


def _to_int4(weights: Tensor) -> tuple[Tensor, Tensor]:
    """(C, ...) -> (G, 16) bytes and (G,) the scale of each group, that of a few which leaves the smallest squared error.

    The largest weight of a group at the end of the range is not the best use of fifteen numbers: a little of it cut off makes
    the others finer.
    """
    flat = weights.flatten(1)
    groups = functional.pad(flat, (0, -flat.shape[1] % GROUP)).reshape(-1, GROUP)
    largest = groups.abs().amax(dim=1)
    best = torch.full_like(largest, torch.inf)
    scale, values = torch.ones_like(largest, dtype=torch.float16), torch.zeros_like(groups)
    for share in (1.0, 0.95, 0.9, 0.85, 0.8):
        tried = (largest * share / 7).clamp(min=1e-7).half()
        rounded = (groups / tried.float()[:, None]).round().clamp(-7, 7)
        error = (rounded * tried.float()[:, None] - groups).square().sum(dim=1)
        better = error < best
        best = torch.where(better, error, best)
        scale, values = torch.where(better, tried, scale), torch.where(better[:, None], rounded, values)
    return pack_int4(values), scale
