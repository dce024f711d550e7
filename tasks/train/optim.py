"""The optimizer and its schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from tasks.train.divided import is_divided_tensor

BETAS = 0.9, 0.98
"""Of AdamW: the second is lower than torch's, as in most trainings of transformers."""


def build_optimizer(groups: Sequence[Mapping[str, Any]]) -> torch.optim.AdamW:
    """AdamW over those parameters of the groups that want gradients; their rates are peaks, which a schedule scales.

    One fused kernel a step where the parameters are ordinary tensors: a loop over them costs more than the arithmetic.
    """
    trainable = [
        dict(group) | {"params": [parameter for parameter in group["params"] if parameter.requires_grad]}
        for group in groups
    ]
    trainable = [group for group in trainable if group["params"]]
    divided = any(is_divided_tensor(parameter) for group in trainable for parameter in group["params"])
    return torch.optim.AdamW(trainable, betas=BETAS, fused=not divided)


def rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """The share of the peak rate at a step, counted from 0: a linear rise over `warmup_ratio` of all, a cosine to 0."""
    warmup = max(1, round(steps * warmup_ratio))
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * done))
