"""Mixup and CutMix: rows of a batch blended two by two, their targets with them, whatever modalities they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_contracts.refs import InputName
from tasks.config import TrainConfig
from tasks.modeling.fusion.classifier import Present

Batch = Mapping[InputName, Present]


class _Pairs(NamedTuple):
    """Which row every row is blended with, and how much of itself it keeps."""

    partners: Tensor
    """(B,) rows; a row that is not blended has itself."""
    shares: Tensor
    """(B,) in [0, 1]; 1 for a row that is not blended."""


def mix(
    batch: Batch, targets: Tensor, config: TrainConfig, generator: torch.Generator
) -> tuple[dict[InputName, Present], Tensor]:
    """A batch and its soft targets (B, outputs) with rows blended: mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019).

    A row's partner has the same modalities, of the same length, so that no evidence for one of two labels is left out;
    a row without such a partner stays. Numbers are blended: pictures, frames, sound, embeddings. Tokens and bytes cannot
    be, so a row with them stays as it is. CutMix pastes a box of the partner's picture, or of all its frames, and blends
    what else the row has in the same proportion; rows without pixels stay. With both, each batch draws one of them.
    """
    if not (config.mixup or config.cutmix):
        return dict(batch), targets
    paste = _chance(generator) < 0.5 if config.mixup and config.cutmix else bool(config.cutmix)
    alpha = config.cutmix if paste else config.mixup
    size = len(targets)
    partners = _partners(_kinds(batch, size, paste), generator)
    drawn = np.random.default_rng(int(torch.randint(2**62, (), generator=generator))).beta(alpha, alpha, size)
    shares = torch.where(partners == torch.arange(size), 1.0, torch.from_numpy(drawn).float())
    boxes = _boxes(shares, generator)
    if paste:  # the area that was in fact replaced, as the border cuts some off
        shares = 1 - (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    pairs = _Pairs(partners, shares)
    mixed = {
        name: _paste(part, pairs, boxes) if paste and _has_pixels(part) else _blend(part, pairs)
        for name, part in batch.items()
    }
    shares = pairs.shares.to(targets)[:, None]
    return mixed, shares * targets + (1 - shares) * targets[partners.to(targets.device)]


def _kinds(batch: Batch, size: int, paste: bool) -> list[tuple[tuple[int, int], ...] | None]:
    """For every row its modalities and their lengths; None for one that must not be blended."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    barred, pixels = set[int](), set[int]()
    for column, part in enumerate(batch.values()):
        rows, lengths = part.rows.tolist(), part.lengths.tolist()
        for row, length in zip(rows, lengths, strict=True):
            found[row].append((column, length))
        if not part.values.is_floating_point():
            barred.update(rows)
        if _has_pixels(part):
            pixels.update(rows)
    return [None if row in barred or (paste and row not in pixels) else tuple(kind) for row, kind in enumerate(found)]


def _partners(kinds: list[tuple[tuple[int, int], ...] | None], generator: torch.Generator) -> Tensor:
    """(B,) a random order within the rows of one kind; those of no kind keep their place."""
    partners = torch.arange(len(kinds))
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for row, kind in enumerate(kinds):
        if kind is not None:
            alike.setdefault(kind, []).append(row)
    for rows in alike.values():
        places = torch.tensor(rows)
        partners[places] = places[torch.randperm(len(rows), generator=generator)]
    return partners


def _boxes(shares: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 4) top, bottom, left, right as shares of the side: of area 1 - share before the border cuts them."""
    half = (1 - shares).clamp(min=0).sqrt() / 2
    y, x = torch.rand(2, len(shares), generator=generator)
    return torch.stack([y - half, y + half, x - half, x + half], dim=1).clamp(0, 1)


def _blend(part: Present, pairs: _Pairs) -> Present:
    """Every value with the partner's at the same place."""
    if not part.rows.numel() or not part.values.is_floating_point():
        return part
    partners, rows = _places(part, pairs), part.rows.cpu()
    x = part.values
    shares = pairs.shares[rows].to(x).view(-1, *[1] * (x.ndim - 1))
    return part._replace(values=shares * x + (1 - shares) * x[partners])


def _paste(part: Present, pairs: _Pairs, boxes: Tensor) -> Present:
    """The partner's pixels inside the box."""
    x = part.values
    partners, (top, bottom, left, right) = _places(part, pairs), boxes[part.rows.cpu()].to(x.device).unbind(1)
    height, width = x.shape[-2:]
    y = (torch.arange(height, device=x.device) + 0.5) / height
    z = (torch.arange(width, device=x.device) + 0.5) / width
    inside = ((y >= top[:, None]) & (y < bottom[:, None]))[:, :, None] & ((z >= left[:, None]) & (z < right[:, None]))[
        :, None, :
    ]
    return part._replace(values=torch.where(inside.view(len(x), *[1] * (x.ndim - 3), height, width), x[partners], x))


def _places(part: Present, pairs: _Pairs) -> Tensor:
    """(P,) where the partner of each row lies in this modality; the same modalities are there for both."""
    rows = part.rows.cpu()
    place = torch.zeros(len(pairs.partners), dtype=torch.long)
    place[rows] = torch.arange(len(rows))
    return place[pairs.partners[rows]].to(part.values.device)


def _has_pixels(part: Present) -> bool:
    """Pictures (P, 3, H, W) and frames (P, N, 3, H, W); sound and embeddings have fewer axes."""
    return part.values.ndim >= 4


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
