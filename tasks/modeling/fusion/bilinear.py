"""fusion.kind = bilinear: concat, and beside it low-rank products of every pair that is there.

Kim et al., Hadamard Product for Low-rank Bilinear Pooling (MLB), 2017; Yu et al., factorised bilinear pooling (MFB), 2018.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import beside, hidden_layer

FACTORS = 4
"""Products summed into one channel: the rank of its bilinear form. Yu et al. take 5; a power of two divides better."""
SMALLEST = 1e-3  # added to a magnitude under the square root, whose slope at 0 is infinite otherwise


class Bilinear(nn.Module):
    """(B, K, W) vectors, (B, K) presence -> (B, hidden). Starts as concat: the weights of the products are 0 at first."""

    def __init__(self, modalities: int, config: FusionConfig) -> None:
        super().__init__()
        width = config.embed_dim
        self.factors = nn.ModuleList(nn.Linear(width, FACTORS * width) for _ in range(modalities))
        self.pairs = list(combinations(range(modalities), 2))
        self.layer = nn.Sequential(*hidden_layer(modalities * (width + 1) + width, config))
        with torch.no_grad():
            self.layer.get_parameter("1.weight")[:, -width:] = 0.0

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """A pair of which one is absent adds nothing to the products; without any pair they are 0."""
        joined: Tensor = self.layer(torch.cat([beside(vectors, seen), self.products(vectors, seen)], dim=1))
        return joined

    def products(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """(B, W): the pairs' products, summed, their signed square roots scaled to a mean square of 1."""
        factors = [layer(vectors[:, k]) * seen[:, k, None] for k, layer in enumerate(self.factors)]  # (B, F * W) each
        summed = vectors.new_zeros(len(vectors), FACTORS * vectors.shape[2])
        for one, other in self.pairs:
            summed = summed + factors[one] * factors[other]
        summed = summed.view(len(summed), -1, FACTORS).sum(dim=2).float()
        rooted = summed / (summed.abs() + SMALLEST).sqrt()
        return functional.rms_norm(rooted, rooted.shape[1:], eps=SMALLEST)
