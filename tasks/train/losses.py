"""The loss over all label columns: each by its problem, and how several are weighed together."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.config import TrainConfig
from tasks.modeling.targets import EncodedTargets, Targets
from tasks.problems.registry import problem_of

MAX_WEIGHT = 100.0
"""A class or a label weighs at most so much more than in the plain loss: one row must not steer the training."""


def joint_loss(
    logits: Tensor,
    soft: Tensor,
    weights: Tensor,
    targets: Targets,
    config: TrainConfig,
    class_weights: Tensor | None = None,
    log_variances: Tensor | None = None,
) -> Tensor:
    """The mean loss of rows: `logits` and `soft` (B, outputs), `weights` (B,), `class_weights` (outputs,).

    NaN in `soft` marks a column that is not known for a row. With `log_variances` (columns,), learned beside the network,
    columns are weighed by their uncertainty: exp(-s) L + s / 2, half of that L for numbers (Kendall, Gal & Cipolla, 2018).
    """
    logits = logits.float()
    if targets.is_plain:
        return (problem_of(targets.columns[0]).loss(logits, soft, config, class_weights) * weights).mean()
    total = logits.new_zeros(())
    for place, (target, cut) in enumerate(zip(targets.columns, targets.slices, strict=True)):
        soft_targets = soft[:, cut]
        known = ~soft_targets.isnan().any(dim=1)
        own = None if class_weights is None else class_weights[cut]
        problem = problem_of(target)
        each = problem.loss(logits[:, cut], soft_targets.nan_to_num(), config, own)
        loss = (each * weights * known).mean()  # over all rows: a step's loss is its microbatches', however it is cut
        if log_variances is not None:
            spread = log_variances[place]
            loss = problem.loss_factor * torch.exp(-spread) * loss + 0.5 * spread
        total = total + loss
    return total


def class_weights(encoded: EncodedTargets) -> Tensor:
    """(outputs,) for train.class_balance = class-weights, from the training rows; 1 for numbers and for what never occurs.

    What a class or a label weighs is its problem's to say.
    """
    found = []
    for target, part in zip(encoded.targets.columns, encoded.parts, strict=True):
        problem = problem_of(target)
        weights = problem.class_weights(part, problem.width(target))
        found.append(weights.clamp(1 / MAX_WEIGHT, MAX_WEIGHT))
    return torch.cat(found)
