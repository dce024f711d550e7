"""Weights in fewer bits, as plain tensors of safetensors: what a compressed model's file holds, and float32 again from it.

Beside a tensor `W` of integers lies `W::scale`; a tensor whose shape its packing hides has its own in `W::shape`:

int8    W (C, ...) int8, scale (C,) float32: w = W * scale, one scale for each output channel.
int4    W (G, 16) uint8, scale (G,) float16, shape: groups of 32 weights along a channel, two to a byte, the earlier one in the
        low half, each 8 more than its value of -7 to 7.
float16 W float16, without a scale.

All else is as it was. So any reader of safetensors can restore it, on any machine, and nothing but numbers is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from tasks.errors import DataError

SCALE, SHAPE = "::scale", "::shape"
GROUP = 32
"""Weights that share a scale in int4."""
_OFFSET = 8


def unpack_weights(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name to weights as a network loads them; tensors that are not packed are handed on as they are.

    Raises DataError where what belongs together does not fit.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith((SCALE, SHAPE)):
            if name.rpartition("::")[0] not in packed:
                raise DataError(f"weights: {name} belongs to a tensor that is not there; restore the file")
        elif (scale := packed.get(name + SCALE)) is not None:
            found[name] = _restore(name, tensor, scale, packed.get(name + SHAPE))
        else:
            found[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    return found


def _restore(name: str, tensor: Tensor, scale: Tensor, shape: Tensor | None) -> Tensor:
    if tensor.dtype == torch.int8 and shape is None and scale.shape == tensor.shape[:1]:
        return tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1))
    if tensor.dtype == torch.uint8 and shape is not None and tensor.shape == (len(scale), GROUP // 2):
        sizes = [int(size) for size in shape.tolist()]
        channels, inner = sizes[0], math.prod(sizes[1:])
        if min(sizes) > 0 and len(scale) == channels * math.ceil(inner / GROUP):
            values = torch.stack([tensor & 15, tensor >> 4], dim=2).flatten(1).float() - _OFFSET
            rows = (values * scale.float()[:, None]).view(channels, -1)[:, :inner]
            return rows.reshape(sizes)
    raise DataError(f"weights: {name} and its scale do not fit each other; restore the file")


def pack_int4(groups: Tensor) -> Tensor:
    """(G, 32) whole numbers of -7 to 7 -> (G, 16) uint8."""
    raised = (groups + _OFFSET).to(torch.uint8).view(len(groups), GROUP // 2, 2)
    return raised[:, :, 0] | (raised[:, :, 1] << 4)
