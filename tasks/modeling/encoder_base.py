"""What an encoder is: the base class below the small, the pretrained and the already embedded ones. Imports none of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """What every encoder offers."""

    width: int
    """Length of its output vectors."""


class Embedded(Encoder):
    """The embedding of a frozen encoder as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, width), (B,) unused -> (B, width)."""
        return x


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B,) -> (B, longest), 1 inside and 0 beyond."""
    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).float()
