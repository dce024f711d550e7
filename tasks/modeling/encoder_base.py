"""What an encoder is: the base class below the small, the pretrained and the already embedded ones. Imports none of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLAT = 1e-5
"""Deviation below which a column says nothing: rounding errors of float32."""


class Encoder(nn.Module):
    """What every encoder offers."""

    width: int
    """Length of its output vectors."""
    has_gradient: bool = True
    """Whether its output changes smoothly with what it reads."""


class FlipAveraged(Encoder):
    """An encoder of pictures or frames that looks at each and at its mirror image, and gives the mean of the two vectors."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.width, self.has_gradient = encoder.width, encoder.has_gradient
        self.network: nn.Module | None = getattr(encoder, "network", None)
        """Of a pretrained encoder, as that one names it."""

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, ..., H, W), (B,) -> (B, width). The picture comes last: hooks that keep the last pass keep its own."""
        mirrored: Tensor = self.encoder(x.flip(-1), lengths)
        found: Tensor = (self.encoder(x, lengths) + mirrored) / 2
        return found


class Embedded(Encoder):
    """The embedding of a frozen encoder as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, width), (B,) unused -> (B, width)."""
        return x


class Standardised(Encoder):
    """Classical features, less the train rows' mean and divided by a power of their deviation, which are fitted once."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, power: float) -> None:
        super().__init__()
        self.width, self.power = width, power
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def fit(self, features: Tensor) -> None:
        """To the train rows' (N, width). Constant columns become 0."""
        deviation, mean = torch.std_mean(features.double(), dim=0, correction=0)
        constant = deviation <= FLAT
        scale = torch.where(constant, torch.zeros_like(mean), deviation.clamp_min(FLAT) ** -self.power)
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, width), (B,) unused -> (B, width)."""
        scaled: Tensor = (x - self.mean) * self.scale
        return scaled


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """(B,) -> (B, longest), 1 inside and 0 beyond."""
    return (torch.arange(longest, device=lengths.device) < lengths[:, None]).float()


def may_be_padded(lengths: Tensor, longest: int) -> bool:
    """False where a mask of these (B,) lengths would hold no 0: to multiply by it changes no bit.

    Looked at outside training and on a CPU, where each small step of masking takes as long as a layer; a GPU would have to be
    waited for.
    """
    return torch.is_grad_enabled() or lengths.is_cuda or int(lengths.min()) < longest
