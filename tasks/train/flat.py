"""Parameters in one piece of memory: what looks at all of them, each step, then looks at one tensor.

Clipping, AdamW and the running average take a third of the step of a small network where every parameter is a tensor of
its own: not for their arithmetic, but for being called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tasks.train.optim import BETAS
from tasks.train.state import Weights

EPSILON = 1e-8  # of torch.optim.AdamW


class FlatAdamW:
    """AdamW with clipping over the groups of `parameter_groups`, all of whose parameters it moves into one tensor.

    They stay the model's: each is a view of its place from then on, and so is `gradients[name]`, which whoever computes
    gradients must fill in every step.
    """

    def __init__(self, groups: Sequence[Mapping[str, Any]], names: Mapping[Tensor, str]) -> None:
        self.names = {names[parameter]: parameter for group in groups for parameter in group["params"]}
        sizes = [parameter.numel() for parameter in self.names.values()]
        self.weights = torch.cat([parameter.detach().flatten() for parameter in self.names.values()])
        self.gradient, self.mean, self.square = (torch.zeros_like(self.weights) for _ in range(3))
        for parameter, piece in zip(self.names.values(), self.weights.split_with_sizes(sizes), strict=True):
            parameter.data = piece.view_as(parameter)
        self.rate, self.step = 0.0, torch.zeros(())
        counts = [sum(parameter.numel() for parameter in group["params"]) for group in groups]
        whole = (self.weights, self.gradient, self.mean, self.square)
        parts = zip(*(tensor.split_with_sizes(counts) for tensor in whole), strict=True)
        self._groups = [
            (group["rate"], group["weight_decay"], tensors) for group, tensors in zip(groups, parts, strict=True)
        ]

    def views(self, flat: Tensor) -> Weights:
        """Parameter's name to its part of a flat tensor, in its shape."""
        pieces = flat.split_with_sizes([parameter.numel() for parameter in self.names.values()])
        return {name: piece.view_as(self.names[name]) for name, piece in zip(self.names, pieces, strict=True)}

    def update(self, factor: float, clip_norm: float) -> Tensor:
        """One step at this share of the peak rates; the norm of the gradients before clipping."""
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        if (found := norm.item()) > clip_norm:
            self.gradient.mul_(clip_norm / (found + 1e-6))
        self.step.add_(1)
        for rate, decay, (weights, gradient, mean, square) in self._groups:
            self.rate = rate * factor
            torch._fused_adamw_(  # the kernel that torch.optim calls, without looking at every tensor before
                [weights], [gradient], [mean], [square], [], [self.step], amsgrad=False, maximize=False,
                beta1=BETAS[0], beta2=BETAS[1], lr=self.rate, weight_decay=decay, eps=EPSILON,
            )  # fmt: skip
        return norm

    def tensors(self) -> dict[str, Weights]:
        """The state, by the name of the parameter, as torch.optim.AdamW has it: it can go on from this, and this from it."""
        means, squares = self.views(self.mean), self.views(self.square)
        return {name: {"step": self.step, "exp_avg": means[name], "exp_avg_sq": squares[name]} for name in self.names}

    def restore(self, kept: Mapping[str, Weights]) -> None:
        """Puts back what `tensors` was."""
        for name, parts in self.tensors().items():
            for part, tensor in parts.items():
                if name in kept:  # a parameter that never had a gradient has no state there
                    tensor.copy_(kept[name][part])
