"""fusion.shared_projection = true: one layer, the same for all modalities, after their projections."""

from __future__ import annotations

from torch import Tensor, nn

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import activation, zero_linear


class SharedProjection(nn.Module):
    """(P, W) vectors of any modality -> (P, W), by a residual layer that changes nothing at first."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.inward = nn.Sequential(nn.Linear(config.embed_dim, config.hidden), activation(config))
        self.outward = zero_linear(config.hidden, config.embed_dim)
        self.norm = nn.LayerNorm(config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """The same weights whatever the modality."""
        y: Tensor = self.norm(x + self.outward(self.inward(x)))
        return y
