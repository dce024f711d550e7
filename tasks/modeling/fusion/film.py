"""fusion.kind = film: a picture's feature map, scaled and shifted by what the other inputs say (Perez et al., FiLM, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import beside, hidden_layer, zero_linear

CHANNELS = 64
"""Of the blocks' maps. Perez et al. take 128; half of them take a quarter of the time, less than the encoder itself."""
DEPTH = 3
"""Blocks. Perez et al. take 4, and find that 2 to 12 hardly differ."""
GROUPS = 8  # of channels that are normalised together, so that a row depends on no other


class _Block(nn.Module):
    """(B, CHANNELS, S, S) -> the same, by a convolution whose channels are scaled and shifted; at first they are not."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, CHANNELS, affine=False)
        self.modulation = zero_linear(context, 2 * CHANNELS)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`context` (B, D) says by how much."""
        scale, shift = self.modulation(context)[:, :, None, None].chunk(2, dim=1)
        x = functional.relu(self.first(x))
        y = self.norm(self.second(x))
        found: Tensor = x + functional.relu(y * (1 + scale) + shift)
        return found


class _Tower(nn.Module):
    """(B, channels * S * S) last feature map of a picture, flat, and (B, D) context -> (B, CHANNELS) what is found in it."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.channels = channels
        self.inward = nn.Conv2d(channels + 2, CHANNELS, 1)
        self.blocks = nn.ModuleList(_Block(context) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, flat: Tensor, context: Tensor) -> Tensor:
        """Each place of the map also gets its coordinates, from -1 to 1, as in the paper."""
        side = isqrt(flat.shape[1] // self.channels)
        x = flat.view(-1, self.channels, side, side)
        line = torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype)
        places = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(len(x), 2, side, side)
        x = self.inward(torch.cat([x, places], dim=1))
        for block in self.blocks:
            x = block(x, context)
        pooled: Tensor = self.norm(x.mean(dim=(2, 3)) + x.amax(dim=(2, 3)))
        return pooled


class Film(nn.Module):
    """(B, K, W) vectors, (B, K) presence, feature maps -> (B, hidden): concat, and what each map holds beside it."""

    def __init__(self, modalities: int, channels: Mapping[int, int], config: FusionConfig) -> None:
        """`channels` of the feature map of each input that has one, by its place among all."""
        super().__init__()
        context = modalities * (config.embed_dim + 1)
        self.places = tuple(channels)
        self.towers = nn.ModuleList(_Tower(each, context) for each in channels.values())
        self.layer = nn.Sequential(*hidden_layer(context + len(channels) * CHANNELS, config))

    def forward(self, vectors: Tensor, seen: Tensor, maps: Mapping[int, Tensor]) -> Tensor:
        """`maps` (B, channels * S * S) by place. Of an input that is absent nothing is found, whatever its map."""
        context = beside(vectors, seen)
        found = [context]
        for place, tower in zip(self.places, self.towers, strict=True):
            if place in maps:
                found.append(tower(maps[place].to(vectors.dtype), context) * seen[:, place, None])
            else:
                found.append(vectors.new_zeros(len(vectors), CHANNELS))
        joined: Tensor = self.layer(torch.cat(found, dim=1))
        return joined
