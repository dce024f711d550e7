"""fusion.kind = linear: one linear map per modality, added up, and nothing else: with classes, a logistic regression."""

from __future__ import annotations

from torch import Tensor, nn

from tasks.config import FusionConfig


class Linear(nn.Module):
    """(B, K, outputs) logits of every modality, (B, K) presence -> (B, outputs) their sum."""

    def __init__(self, modalities: int, config: FusionConfig) -> None:
        super().__init__()

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """For an absent modality its learned embedding counts, so `seen` adds nothing."""
        return vectors.sum(dim=1)
