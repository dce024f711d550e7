"""What a frozen network sees at several depths: the outputs of its layers, pooled, beside its own embedding.

Layers are counted from 1, from the first block of the kind that the network has most of: the residual blocks of a ResNet, the
layers of a transformer (the number that its `hidden_states` have, too); what follows is counted on.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_contracts.refs import Modality
from tasks.encoder_ids import Layer, Layers
from tasks.modalities import MODALITIES
from tasks.modeling.pretrained.blocks import find_blocks

LAST: Layer = "last"
_CHANNELS_LAST = ("SwinTransformerBlock", "SwinTransformerBlockV2", "PatchMerging", "PatchMergingV2")
"""Layers of torchvision whose output is (B, H, W, C) or (B, T, H, W, C)."""
_EPS = 1e-5


def layers_of(network: nn.Module) -> list[nn.Module]:
    """The layers of a network in order, see above."""
    blocks = [block[0] if isinstance(block, nn.ModuleList) else block for block in find_blocks(network)]
    kind = _main_kind(blocks)
    return blocks[next((place for place, block in enumerate(blocks) if type(block) is kind), 0) :]


def _main_kind(blocks: Sequence[nn.Module]) -> type[nn.Module] | None:
    """The commonest kind of block that is made of parts; of single layers where none of those recurs (VGG)."""
    for counts in (Counter(type(block) for block in blocks if list(block.children())), Counter(map(type, blocks))):
        for kind, count in counts.most_common(1):
            if count > 1:
                return kind
    return None


def resolve_layers(modality: Modality, layers: Layers, network: nn.Module) -> list[Layer]:
    """The layers that a setting asks for, in its order; ValueError for one that the network does not have.

    `auto`: thirds of the depth for pictures and frames, quarters for sound and words, and the network's own embedding.
    """
    known = layers_of(network)
    if layers == "auto":
        parts = 3 if MODALITIES[modality].has_pixels else 4
        kind = _main_kind(known)
        depth = sum(type(layer) is kind for layer in known) or len(known)
        return [*sorted({max(1, round(depth * part / parts)) for part in range(1, parts + 1)}), LAST]
    chosen: list[Layer] = [LAST] if isinstance(layers, str) else list(layers)
    for layer in chosen:
        if layer != LAST and not 1 <= int(layer) <= len(known):
            raise ValueError(f"layer {layer}: it has layers 1 to {len(known)}")
    return chosen


class _Kept(threading.local):
    """Layer to its output in the forward pass of a thread; a copy of a network begins with none."""

    def __init__(self) -> None:
        self.outputs: dict[Layer, Tensor] = {}

    def __deepcopy__(self, memo: object) -> _Kept:
        return _Kept()


@dataclass(frozen=True)
class _Keep:
    """The hook of one layer; an object and no closure, so that a copy of the network keeps for the copy."""

    layer: Layer
    kept: _Kept

    def __call__(self, module: nn.Module, _: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        self.kept.outputs[self.layer] = tensor.movedim(-1, 1) if type(module).__name__ in _CHANNELS_LAST else tensor


class Depths(nn.Module):
    """Keeps what chosen layers put out during a forward pass, each thread its own, and joins it with the embedding.

    Made where the network will not be rebuilt any more, since layers that are replaced are not listened to.
    """

    def __init__(self, network: nn.Module, layers: Sequence[Layer], spread: bool) -> None:
        """`spread`: the deviation over moments stands beside the mean, as for sounds and clips."""
        super().__init__()
        self.layers, self.spread, self.kept = tuple(layers), spread, _Kept()
        known = layers_of(network)
        for layer in {layer for layer in layers if layer != LAST}:
            known[int(layer) - 1].register_forward_hook(_Keep(layer, self.kept))

    def forward(self, embedding: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, D) what the network gives by itself, (B, L) True where a layer's tokens are real -> (B, width).

        Each part is brought to zero mean and unit variance over its own values, as layers differ in scale by orders.
        """
        parts = []
        for layer in self.layers:
            found = [embedding] if layer == LAST else self._pooled(self.kept.outputs.pop(layer), mask)
            parts += [functional.layer_norm(part, part.shape[1:], eps=_EPS) for part in found]
        return torch.cat(parts, dim=1)

    def _pooled(self, output: Tensor, mask: Tensor | None) -> list[Tensor]:
        """(B, D) mean and, where `spread`, deviation over positions of (B, L, D) or (B, D, ...); (B, D) has one."""
        tokens = output if output.dim() == 3 else output.reshape(*output.shape[:2], -1).transpose(1, 2)
        if mask is None or mask.shape[1] != tokens.shape[1]:
            weights = tokens.new_full((*tokens.shape[:2], 1), 1 / tokens.shape[1])
        else:
            weights = mask.unsqueeze(2).to(tokens.dtype)
            weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
        mean = (tokens * weights).sum(dim=1)
        if not self.spread:
            return [mean]
        square = ((tokens - mean.unsqueeze(1)) ** 2 * weights).sum(dim=1)
        return [mean, square.clamp(min=0).sqrt()]
