"""The optimizer, its schedule, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

BETAS = 0.9, 0.98
"""Of AdamW: the second is lower than torch's, as in most trainings of transformers."""


def build_optimizer(groups: Sequence[Mapping[str, Any]]) -> torch.optim.AdamW:
    """AdamW over those parameters of the groups that want gradients; each group keeps its peak rate as `rate`.

    One fused kernel a step where the parameters are ordinary tensors: a loop over them costs more than the arithmetic.
    """
    wanted = [
        dict(group) | {"params": [parameter for parameter in group["params"] if parameter.requires_grad]}
        for group in groups
    ]
    wanted = [group for group in wanted if group["params"]]
    divided = any(isinstance(parameter, DTensor) for group in wanted for parameter in group["params"])
    return torch.optim.AdamW(wanted, betas=BETAS, fused=not divided)


def rate_factor(step: int, steps: int, warmup_share: float) -> float:
    """The share of the peak rate at a step, counted from 0: a linear rise over `warmup_share` of all, a cosine to 0."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets every group's rate to this share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * factor


def average_share(step: int, decay: float) -> float:
    """How far the average moves towards the weights at a step, counted from 0: further in the first ones."""
    return 1 - min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], current: Mapping[str, Tensor], step: int, decay: float) -> None:
    """Moves the average towards the current weights by `average_share` (Polyak and Juditsky, 1992)."""
    share = average_share(step, decay)
    floats: tuple[list[Tensor], list[Tensor]] = ([], [])
    for name, tensor in current.items():
        if not tensor.is_floating_point():
            average[name].copy_(tensor)
        elif isinstance(tensor, DTensor):
            average[name].lerp_(tensor, share)
        else:
            floats[0].append(average[name])
            floats[1].append(tensor)
    if floats[0]:
        torch._foreach_lerp_(*floats, share)  # the function that torch.optim itself uses for many tensors at once
