"""fusion.kind = late: every modality answers by itself, and the answers are weighed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import beside, hidden_layer, over_present, zero_linear


class Voter(nn.Sequential):
    """(P, W) vectors of one modality -> (P, outputs) logits."""

    def __init__(self, outputs: int, config: FusionConfig) -> None:
        super().__init__(*hidden_layer(config.embed_dim, config), nn.Linear(config.hidden, outputs))


class Late(nn.Module):
    """(B, K, W) vectors, (B, K) presence, (B, K, outputs) votes -> (B, outputs). Starts as the mean of the votes cast.

    What is added to every mean is the answer where nobody votes.
    """

    def __init__(self, modalities: int, outputs: int, config: FusionConfig) -> None:
        super().__init__()
        self.trust = zero_linear(modalities * (config.embed_dim + 1), modalities)
        self.prior = nn.Parameter(torch.zeros(outputs))

    def forward(self, vectors: Tensor, seen: Tensor, votes: Tensor) -> Tensor:
        """Weights come from what is there; votes of absent modalities count nothing and must be finite."""
        weights = over_present(self.trust(beside(vectors, seen)), seen) * seen  # (B, K)
        return self.prior + (weights.unsqueeze(2) * votes).sum(dim=1)
