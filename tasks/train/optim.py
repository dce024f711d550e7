"""The optimizer, its schedule, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

BETAS = 0.9, 0.98
"""Of AdamW: the second is lower than torch's, as in most trainings of transformers."""


def build_optimizer(groups: Sequence[Mapping[str, Any]]) -> torch.optim.AdamW:
    """AdamW over those parameters of the groups that want gradients; their rates are peaks, which a schedule scales.

    One fused kernel a step where the parameters are ordinary tensors: a loop over them costs more than the arithmetic.
    """
    wanted = [
        dict(group) | {"params": [parameter for parameter in group["params"] if parameter.requires_grad]}
        for group in groups
    ]
    wanted = [group for group in wanted if group["params"]]
    divided = any(isinstance(parameter, DTensor) for group in wanted for parameter in group["params"])
    return torch.optim.AdamW(wanted, betas=BETAS, fused=not divided)


def rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """The share of the peak rate at a step, counted from 0: a linear rise over `warmup_ratio` of all, a cosine to 0."""
    warmup = max(1, round(steps * warmup_ratio))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))


def ema_decay_at(step: int, decay: float) -> float:
    """The share of itself that the average keeps at a step, counted from 0: less in the first ones, `decay` at most."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], current: Mapping[str, Tensor], step: int, decay: float) -> None:
    """Moves the average towards the current weights, all but its `ema_decay_at` (Polyak and Juditsky, 1992).

    Of a divided tensor each process moves its share; counters are copied.
    """
    floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
    for name in current.keys() - set(floats):
        average[name].copy_(current[name])
    old, new = ([_own(weights[name]) for name in floats] for weights in (average, current))
    if floats:
        get_ema_multi_avg_fn(ema_decay_at(step, decay))(old, new, None)  # type: ignore[no-untyped-call]


def _own(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
