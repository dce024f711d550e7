"""fusion.kind = attention: a small transformer over one token per modality."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.config import FusionConfig
from tasks.modeling.fusion.layers import activation, hidden_layer, zero_linear

DEPTH = 2
LARGEST_HEAD = 32  # channels of an attention head


class _Block(nn.Module):
    """Attention and a feed-forward layer, norms before them (Xiong et al., 2020), both 0 at first: (B, N, W) -> (B, N, W)."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        width = config.embed_dim
        # As many heads as divide the width into heads of at most LARGEST_HEAD channels; an awkward width gets one.
        self.heads = next((n for n in range(-(-width // LARGEST_HEAD), width // 8 + 1) if width % n == 0), 1)
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inward = nn.Linear(width, 3 * width)
        self.outward = zero_linear(width, width)
        self.forward_layer = nn.Sequential(
            nn.Linear(width, 2 * width), activation(config), nn.Dropout(config.dropout), zero_linear(2 * width, width)
        )

    def forward(self, x: Tensor, readable: Tensor) -> Tensor:
        """`readable` is (B, 1, 1, N), False for tokens that no other may read."""
        parts = self.inward(self.norm_attention(x)).unflatten(2, (3, self.heads, -1))  # (B, N, 3, heads, W / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=readable)
        x = x + self.outward(read.transpose(1, 2).flatten(2))
        y: Tensor = x + self.forward_layer(self.norm_forward(x))
        return y


class Attention(nn.Module):
    """(B, K, W) vectors, (B, K) presence -> (B, hidden). Starts as the mean of what is there and a token of its own.

    That token takes up the learned embeddings of what is missing; so it says what is not there, and no row is empty.
    """

    def __init__(self, modalities: int, config: FusionConfig) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(config.embed_dim))
        self.kinds = nn.Parameter(torch.randn(modalities, config.embed_dim) * 0.02)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(config.embed_dim)
        self.layer = nn.Sequential(*hidden_layer(config.embed_dim, config))

    def forward(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """An absent modality's token is read by no other and not pooled."""
        absent = (1 - seen).unsqueeze(2)
        own = self.token + (vectors * absent).sum(dim=1)  # (B, W)
        x = torch.cat([own.unsqueeze(1), vectors + self.kinds], dim=1)  # (B, 1 + K, W)
        there = functional.pad(seen, (1, 0), value=1.0)  # (B, 1 + K)
        readable = (there > 0)[:, None, None, :]
        for block in self.blocks:
            x = block(x, readable)
        pooled = (x * there.unsqueeze(2)).sum(dim=1) / there.sum(dim=1, keepdim=True)
        joined: Tensor = self.layer(self.norm(pooled))
        return joined
