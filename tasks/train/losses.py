"""The loss over all label columns: cross-entropy, focal, per label, of numbers, and how several are weighed together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from data_contracts.refs import Problem
from tasks.config import TrainConfig
from tasks.modeling.targets import EncodedTargets, Targets

MOST = 100.0
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
        return (_rows("multiclass", logits, soft, config, class_weights) * weights).mean()
    total = logits.new_zeros(())
    for place, (target, cut) in enumerate(zip(targets.columns, targets.slices, strict=True)):
        wanted = soft[:, cut]
        known = ~wanted.isnan().any(dim=1)
        own = None if class_weights is None else class_weights[cut]
        each = _rows(target.problem, logits[:, cut], wanted.nan_to_num(), config, own)
        loss = (each * weights * known).mean()  # over all rows: so a step's loss is its pieces', however it is cut
        if log_variances is not None:
            spread = log_variances[place]
            loss = (0.5 if target.problem == "regression" else 1.0) * torch.exp(-spread) * loss + 0.5 * spread
        total = total + loss
    return total


def _rows(problem: Problem, logits: Tensor, soft: Tensor, config: TrainConfig, weights: Tensor | None) -> Tensor:
    """(B,) the loss of each row in one column."""
    if problem == "multiclass":
        each = _focal(logits, soft, config) if config.loss == "focal" else _cross_entropy(logits, soft, config)
        return each if weights is None else each * (soft @ weights)
    if problem == "multilabel":
        return _labels(logits, soft, config, weights)
    if config.regression_loss == "squared":
        return functional.mse_loss(logits, soft, reduction="none").squeeze(1)
    return functional.smooth_l1_loss(logits, soft, reduction="none").squeeze(1)


def _cross_entropy(logits: Tensor, soft: Tensor, config: TrainConfig) -> Tensor:
    return functional.cross_entropy(logits, soft, reduction="none", label_smoothing=config.label_smoothing)


def _focal(logits: Tensor, soft: Tensor, config: TrainConfig) -> Tensor:
    """Cross-entropy with every class's term scaled by (1 - p)^gamma (Lin et al., 2017)."""
    wanted = soft * (1 - config.label_smoothing) + config.label_smoothing / soft.shape[1]
    logs = logits.log_softmax(dim=1)
    doubt = (1 - logs.exp()).clamp(min=1e-6)  # at 0 the slope of a power below 1 is infinite
    return -(wanted * doubt**config.focal_gamma * logs).sum(dim=1)


def _labels(logits: Tensor, soft: Tensor, config: TrainConfig, weights: Tensor | None) -> Tensor:
    """The mean over labels of binary cross-entropy; `weights` (L,) scale the terms of labels that a row has."""
    there, absent = -functional.logsigmoid(logits), -functional.logsigmoid(-logits)
    if config.loss == "focal":
        chance = logits.sigmoid()
        there = there * (1 - chance).clamp(min=1e-6) ** config.focal_gamma
        absent = absent * chance.clamp(min=1e-6) ** config.focal_gamma
    if weights is not None:
        there = there * weights
    return (soft * there + (1 - soft) * absent).mean(dim=1)


def class_weights(encoded: EncodedTargets) -> Tensor:
    """(outputs,) for train.class_balance = class-weights, from the training rows; 1 for numbers and for what never occurs.

    A class: rows / (classes x its rows), so that every class counts alike and the mean over rows is 1 (King & Zeng, 2001;
    scikit-learn's `balanced`). The effective number of Cui et al. (2019) was left out: it adds a parameter, and with beta =
    1 - 1/N it differs from this by less than a factor of 1.6. A label: rows without it / rows with it.
    """
    found = []
    for target, part in zip(encoded.targets.columns, encoded.parts, strict=True):
        weights = torch.ones(target.width)
        if target.problem == "multiclass":
            counts = torch.bincount(part[part >= 0], minlength=target.width).float().cpu()
            there = counts > 0
            weights[there] = counts.sum() / (there.sum() * counts[there])
        elif target.problem == "multilabel":
            known = part[~part.isnan().any(dim=1)].cpu()
            counts = known.sum(dim=0)
            there = counts > 0
            weights[there] = (len(known) - counts[there]) / counts[there]
        found.append(weights.clamp(1 / MOST, MOST))
    return torch.cat(found)
