"""Random changes that leave the class as it is. Every draw comes from the generator that is passed in."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from data_contracts.refs import Modality
from tasks.modeling.encoders import TinyText
from tasks.modeling.fusion import Present

# Pictures
TURN = math.radians(8.0)
ZOOM = 0.1
SHIFT = 0.1  # of the side
# Sound
SPEED = 0.25  # time is stretched by up to this share
PITCH_BINS = 4.0  # mel bins up or down; with 64 bins to 8 kHz about 3 semitones at 1 kHz
STRETCH = 0.12  # of the mel axis: vocal tract length (Jaitly and Hinton, 2013)
NOISE_SHARE = 0.5
NOISE_NATS = (-9.0, -2.5)  # of the noise below the clip's mean power
TILT_NATS = 1.5
MASKED_BINS = 8
MASKED_TIME = 0.15
# Text
HIDDEN_BYTES = 0.05


def augment(
    batch: Mapping[Modality, Present], flip: bool, pitch: bool, generator: torch.Generator
) -> dict[Modality, Present]:
    """The batch with every modality changed at random; shapes stay, but for the time axis of sound.

    `flip` allows pictures to be mirrored, `pitch` allows sound to be moved along the mel axis.
    """
    changed = dict(batch)
    for name, part in batch.items():
        if not part.rows.numel():
            continue
        if name == "image":
            changed[name] = part._replace(values=move_pictures(part.values, flip, generator))
        elif name == "video":
            moved = move_pictures(part.values.flatten(1, 2), flip, generator)  # all frames of a clip alike
            changed[name] = part._replace(values=moved.view_as(part.values))
        elif name == "audio":
            changed[name] = change_sound(part, pitch, generator)
        elif name == "text":
            changed[name] = part._replace(values=hide_bytes(part, generator))
    return changed


def move_pictures(x: Tensor, flip: bool, generator: torch.Generator) -> Tensor:
    """(B, C, S, S): turned, zoomed and shifted, the border repeated; mirrored half the time with `flip`."""
    turn, zoom, right, down = (_spread(len(x), generator).to(x.device) for _ in range(4))
    turn, scale = turn * TURN, 1 + zoom * ZOOM
    side = torch.ones_like(scale)
    if flip:
        side = torch.where(_uniform(len(x), generator).to(x.device) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    rows = [torch.stack([cos * side, -sin, right * 2 * SHIFT], 1), torch.stack([sin * side, cos, down * 2 * SHIFT], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def change_sound(part: Present, pitch: bool, generator: torch.Generator) -> Present:
    """Log-mel (B, T, M) at another speed, pitch and vocal tract length, with noise, coloured, with parts masked."""
    part = _warp(part, pitch, generator)
    x = _add_noise(_colour(part.values, generator), part.lengths, generator)
    return part._replace(values=_mask_sound(x, part.lengths, generator))


def _warp(part: Present, move_mel: bool, generator: torch.Generator) -> Present:
    """Resamples time and the mel axis in one bilinear step."""
    x, lengths = part.values, part.lengths
    size, frames, bins = x.shape
    speed, pitch, tract = (_spread(size, generator).to(x.device) for _ in range(3))
    if not move_mel:
        pitch, tract = torch.zeros_like(pitch), torch.zeros_like(tract)
    faster = 1 + SPEED * speed
    new_lengths = (lengths / faster).round().long().clamp(min=1)
    longest = int(new_lengths.max())
    time = (torch.arange(longest, device=x.device) + 0.5) * faster[:, None]  # (B, T') in old frames
    time = torch.minimum(time, lengths[:, None] - 0.5)
    mel = (torch.arange(bins, device=x.device) + 0.5) * (1 + STRETCH * tract[:, None]) + PITCH_BINS * pitch[:, None]
    grid = torch.stack(
        [
            (2 * mel / bins - 1)[:, None, :].expand(size, longest, bins),
            (2 * time / frames - 1)[:, :, None].expand(size, longest, bins),
        ],
        dim=3,
    )
    x = functional.grid_sample(x.unsqueeze(1), grid, padding_mode="border", align_corners=False).squeeze(1)
    return part._replace(values=x, lengths=new_lengths)


def _colour(x: Tensor, generator: torch.Generator) -> Tensor:
    """Adds a smooth random curve over frequency: another microphone, another room."""
    bins = x.shape[2]
    along = torch.linspace(0, math.pi, bins, device=x.device)
    curves = torch.stack([torch.cos(along), torch.cos(2 * along), torch.cos(3 * along)])  # (3, M)
    weights = torch.randn(len(x), 3, generator=generator).to(x.device) * (TILT_NATS / 2)
    return x + (weights @ curves)[:, None, :]


def _add_noise(x: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Adds stationary noise in the domain of power to a share of the clips."""
    size, frames, bins = x.shape
    low, high = NOISE_NATS
    level = low + (high - low) * _uniform(size, generator).to(x.device)
    chosen = _uniform(size, generator).to(x.device) < NOISE_SHARE
    inside = torch.arange(frames, device=x.device) < lengths[:, None]
    top = x.amax(dim=(1, 2), keepdim=True)  # taken out before exp, which overflows at 88
    power = ((x - top).exp() * inside[:, :, None]).sum(dim=(1, 2)) / (lengths * bins)
    grain = torch.randn(size, frames, bins, generator=generator).to(x.device) * 0.5
    noise = top + (power.log() + level)[:, None, None] + grain
    return torch.where(chosen[:, None, None], torch.logaddexp(x, noise), x)


def _mask_sound(x: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """SpecAugment (Park et al., 2019): one band and one stretch of time are set to the clip's own mean."""
    size, frames, bins = x.shape
    draws = torch.rand(4, size, generator=generator).to(x.device)
    width = draws[0] * MASKED_BINS
    start = draws[1] * (bins - width)
    mel = torch.arange(bins, device=x.device)
    in_band = (mel >= start[:, None]) & (mel < (start + width)[:, None])
    span = draws[2] * MASKED_TIME * lengths
    begin = draws[3] * (lengths - span)
    time = torch.arange(frames, device=x.device)
    in_span = (time >= begin[:, None]) & (time < (begin + span)[:, None])
    inside = (time < lengths[:, None])[:, :, None]
    mean = (x * inside).sum(dim=(1, 2)) / (lengths * bins)
    return torch.where(in_band[:, None, :] | in_span[:, :, None], mean[:, None, None], x)


def hide_bytes(part: Present, generator: torch.Generator) -> Tensor:
    """Text (B, L) with some bytes replaced by the unknown one."""
    chosen = torch.rand(part.values.shape, generator=generator).to(part.values.device) < HIDDEN_BYTES
    return part.values.masked_fill(chosen, TinyText.unknown)


def _uniform(size: int, generator: torch.Generator) -> Tensor:
    """(size,) in [0, 1)."""
    return torch.rand(size, generator=generator)


def _spread(size: int, generator: torch.Generator) -> Tensor:
    """(size,) in [-1, 1)."""
    return torch.rand(size, generator=generator) * 2 - 1
