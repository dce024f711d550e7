"""The optimizer, its schedule, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tasks.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; norms, biases and embeddings of what is missing (all of one axis) do not decay."""
    wide = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    flat = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": wide, "weight_decay": config.weight_decay}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """The rate of a step, counted from 0: a linear rise over `warmup_share` of all steps, then a cosine to 0."""
    warmup = max(1, round(steps * config.warmup_share))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def update_average(average: dict[str, Tensor], current: Mapping[str, Tensor], step: int, decay: float) -> None:
    """Moves the average towards the current weights, faster in the first steps (Polyak and Juditsky, 1992)."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for name, tensor in current.items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, share)
        else:
            average[name].copy_(tensor)
