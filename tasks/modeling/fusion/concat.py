"""fusion.kind = concat: the vectors beside each other, through one layer."""

from __future__ import annotations

from torch import Tensor, nn

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import beside, hidden_layer


class Concat(nn.Sequential):
    """(B, K, W) vectors, (B, K) presence -> (B, hidden). The layer sees every modality, and what is missing, at its place."""

    def __init__(self, modalities: int, config: FusionConfig) -> None:
        super().__init__(*hidden_layer(modalities * (config.embed_dim + 1), config))

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:  # type: ignore[override]  # two inputs, joined to one
        """An absent modality is given by its learned embedding, and marked 0 in `seen`."""
        joined: Tensor = super().forward(beside(vectors, seen))  # type: ignore[no-untyped-call]
        return joined
