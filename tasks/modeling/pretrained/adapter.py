"""What every adapter of a family of pretrained networks offers, and what several of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_contracts.refs import Modality
from tasks.encoder_ids import Layer, Layers
from tasks.modeling.encoder_base import Encoder
from tasks.modeling.pretrained.blocks import find_blocks
from tasks.modeling.pretrained.depths import LAST, Depths, resolve_layers
from tasks.modeling.pretrained.locate import Place

Settings = dict[str, Any]
BICUBIC = 3  # as Pillow and the processors of transformers count; 2 is bilinear


class Pretrained(Encoder):
    """A known network without its head, fed and pooled as it was trained to be."""

    network: nn.Module
    spread = False
    """Whether a layer's deviation over moments is read beside its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.depths: Depths | None = None

    def read_layers(self, modality: Modality, layers: Layers) -> None:
        """Makes the embedding one of several layers, from now on. ValueError for a layer that the network does not have."""
        if layers != LAST:
            self.depths = Depths(self.network, resolve_layers(modality, layers, self.network), self.spread)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that are read."""
        return (LAST,) if self.depths is None else self.depths.layers

    def joined(self, embedding: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, D), (B, L) True where a layer's tokens are real -> (B, width), with the layers that are read."""
        found: Tensor = embedding if self.depths is None else self.depths(embedding, mask)
        return found

    def blocks(self) -> list[nn.Module]:
        """Its parts from input to output, for training the last ones only, or the first ones more slowly."""
        return find_blocks(self.network)

    def load(self, place: Place) -> None:
        """Puts the pretrained weights into the network, as float32. EnvironmentFailed where they are damaged or do not fit."""
        raise NotImplementedError

    def freeze_for_inference(self) -> None:
        """Makes the network ready to be looked through only: in eval mode, without gradients, as fast as it can be."""
        self.eval().requires_grad_(False)


class Pixels(nn.Module):
    """Pictures as a network wants them: its side, its mean and deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, px: int, mean: Sequence[float], std: Sequence[float], resample: int) -> None:
        super().__init__()
        self.px, self.mode = px, "bicubic" if resample == BICUBIC else "bilinear"
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, 3, px, px), normalised; scaled with antialiasing where the side differs."""
        if x.shape[-2:] != (self.px, self.px):
            size = (self.px, self.px)
            x = functional.interpolate(x, size=size, mode=self.mode, align_corners=False, antialias=True).clamp(0, 1)
        return (x - self.mean) / self.std


def mean_of(x: Tensor, mask: Tensor) -> Tensor:
    """(B, L, D), (B, L) True where real -> (B, D), the mean over what is real."""
    weights = mask.unsqueeze(2).to(x.dtype)
    return (x * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def inside(lengths: Tensor, longest: int) -> Tensor:
    """(B,) -> (B, longest), True inside."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def pick_frames(x: Tensor, lengths: Tensor, count: int) -> Tensor:
    """(B, N, ...), (B,) real frames -> (B, count, ...): evenly spaced among the real ones, repeated where they are few."""
    moments = (torch.arange(count, device=x.device) + 0.5) / count
    chosen = (moments * lengths[:, None]).long().clamp(max=x.shape[1] - 1)
    return x[torch.arange(len(x), device=x.device)[:, None], chosen]
