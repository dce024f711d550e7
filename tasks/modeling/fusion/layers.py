"""The layers that the fusions are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasks.config import FusionConfig

HEAD_DEVIATION = 0.02  # of truncated-normal heads: that of BERT and ViT
_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


def activation(config: FusionConfig) -> nn.Module:
    """The activation that the config names."""
    return _ACTIVATIONS[config.activation]()


def hidden_layer(inside: int, config: FusionConfig) -> list[nn.Module]:
    """(B, inside) -> (B, hidden), as the parts of an nn.Sequential."""
    return [
        nn.Dropout(config.dropout),
        nn.Linear(inside, config.hidden),
        activation(config),
        nn.Dropout(config.dropout),
    ]


def zero_linear(inside: int, outside: int) -> nn.Linear:
    """A linear layer whose output is 0 until it has learned."""
    layer = nn.Linear(inside, outside)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def shrink_head(layer: nn.Linear) -> None:
    """Small truncated-normal weights and no bias: the first answers are nearly uniform."""
    bound = 2 * HEAD_DEVIATION
    nn.init.trunc_normal_(layer.weight, std=HEAD_DEVIATION, a=-bound, b=bound)
    nn.init.zeros_(layer.bias)


def beside(vectors: Tensor, seen: Tensor) -> Tensor:
    """(B, K, W) vectors and (B, K) marks of presence -> (B, K * (W + 1)), one beside the other."""
    return torch.cat([vectors.flatten(1), seen], dim=1)


def over_present(scores: Tensor, seen: Tensor) -> Tensor:
    """Softmax of (B, K, *) scores over the modalities that are there; over all of them in rows where none is."""
    counts = (seen > 0) | ~(seen > 0).any(dim=1, keepdim=True)
    counts = counts.reshape(*counts.shape, *[1] * (scores.ndim - 2))
    return scores.float().masked_fill(~counts, -torch.inf).softmax(dim=1)
