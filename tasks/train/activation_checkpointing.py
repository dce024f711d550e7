"""Gradient checkpointing (Chen et al., 2016): activations of pretrained blocks are computed twice instead of being kept."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.pretrained.adapter import Pretrained
from tasks.train.finetuning import tuned_encoders


def recompute_blocks(model: FusedClassifier) -> None:
    """From now on the blocks of trained pretrained encoders keep only their inputs for the backward pass.

    The result is the same to the bit: what a block drops is drawn again as it was. Blocks whose batch norms follow the
    batches are left as they are, since a second pass would move their statistics twice; so are blocks that are one layer.
    """
    for encoder in tuned_encoders(model).values():
        for block in cast(Pretrained, encoder).blocks():
            for module in block if isinstance(block, nn.ModuleList) else [block]:
                if list(module.children()) and "forward" not in vars(module):
                    _recompute(module)


def _recompute(module: nn.Module) -> None:
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Tensor:
        """The module's output; its activations are computed again for the backward pass where nothing forbids it."""
        kept = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in module.parameters())
        moves = any(isinstance(part, _BatchNorm) and part.training for part in module.modules())
        if not kept or moves:
            return cast(Tensor, inner(*args, **kwargs))
        return cast(Tensor, checkpoint(inner, *args, use_reentrant=False, **kwargs))

    module.forward = forward
