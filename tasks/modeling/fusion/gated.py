"""fusion.kind = gated: in every channel a weighted mean of what is there (Arevalo et al., Gated Multimodal Units, 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import beside, hidden_layer, over_present, zero_linear


class Gated(nn.Module):
    """(B, K, W) vectors, (B, K) presence -> (B, hidden). Starts as the plain mean: its gates are 0 at first."""

    def __init__(self, modalities: int, config: FusionConfig) -> None:
        super().__init__()
        self.gate = zero_linear(modalities * (config.embed_dim + 1), modalities * config.embed_dim)
        self.layer = nn.Sequential(*hidden_layer(config.embed_dim, config))

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """Absent modalities weigh nothing; where none is there, their learned embeddings are the sum."""
        weights = over_present(self.gate(beside(vectors, seen)).reshape(vectors.shape), seen)  # (B, K, W)
        joined: Tensor = self.layer((weights * vectors).sum(dim=1))
        return joined
