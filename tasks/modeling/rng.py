"""Random numbers per sample. Every draw comes from the generator that is passed in, on the CPU, whatever the device."""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(size: int, generator: torch.Generator) -> Tensor:
    """(size,) in [0, 1)."""
    return torch.rand(size, generator=generator)


def spread(size: int, generator: torch.Generator) -> Tensor:
    """(size,) in [-1, 1)."""
    return torch.rand(size, generator=generator) * 2 - 1


def below(size: int, limit: int, generator: torch.Generator) -> Tensor:
    """(size,) int64 in [0, limit)."""
    return torch.randint(limit, (size,), generator=generator)
