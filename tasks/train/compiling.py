"""torch.compile of what is called most: the layers of an encoder that is a stack of one kind of them, else all of it."""

from __future__ import annotations

from collections import Counter

from torch import nn

from tasks.modeling.pretrained.adapter import Pretrained

STACK = 3
"""Layers of one kind from which an encoder counts as a stack."""


def compile_encoder(encoder: nn.Module) -> list[nn.Module]:
    """The parts of the encoder that are compiled when they are first called, and from then on.

    The layers of a transformer are the same code with other weights: compiled once, it serves all of them, in a fraction of
    the time that the whole network takes. Blocks of different shapes would be compiled one by one, so there it is the whole.
    """
    parts = _stack(encoder) if isinstance(encoder, Pretrained) else []
    for part in parts or [encoder]:
        part.compile()
    return parts or [encoder]


def _stack(encoder: Pretrained) -> list[nn.Module]:
    """The layers of one kind, all of one size, that are most of the encoder's blocks; none where no kind is."""
    parts = [part for block in encoder.blocks() for part in (block if isinstance(block, nn.ModuleList) else [block])]
    blocks = [part for part in parts if list(part.children())]
    kind, count = Counter(map(_kind, blocks)).most_common(1)[0] if blocks else ("", 0)
    return [block for block in blocks if _kind(block) == kind] if count >= STACK and 2 * count > len(blocks) else []


def _kind(block: nn.Module) -> str:
    """What code and which shapes a block has."""
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in block.named_parameters())
    return f"{type(block).__qualname__} {shapes}"
