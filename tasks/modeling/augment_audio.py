"""Random changes of sound as log-mel frames that leave the class as it is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from tasks.modeling.fusion.classifier import Present
from tasks.modeling.rng import spread, uniform

SPEED = 0.25  # time is stretched by up to this share
PITCH_BINS = 4.0  # mel bins up or down; with 64 bins to 8 kHz about 3 semitones at 1 kHz
STRETCH = 0.12  # of the mel axis: vocal tract length (Jaitly and Hinton, 2013)
NOISE_SHARE = 0.5
NOISE_NATS = (-9.0, -2.5)  # of the noise below the clip's mean power
TILT_NATS = 1.5
MASKED_BINS = 8
MASKED_TIME = 0.15


def change_sound(part: Present, pitch: bool, generator: torch.Generator) -> Present:
    """Log-mel (B, T, M) at another speed, pitch and vocal tract length, with noise, coloured, with parts masked."""
    part = _warp(part, pitch, generator)
    x = _add_noise(_colour(part.values, generator), part.lengths, generator)
    return part._replace(values=mask_sound(x, part.lengths, generator))


def _warp(part: Present, move_mel: bool, generator: torch.Generator) -> Present:
    """Resamples time and the mel axis in one bilinear step."""
    x, lengths = part.values, part.lengths
    size, frames, bins = x.shape
    speed, pitch, tract = (spread(size, generator).to(x.device) for _ in range(3))
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
    level = low + (high - low) * uniform(size, generator).to(x.device)
    chosen = uniform(size, generator).to(x.device) < NOISE_SHARE
    inside = torch.arange(frames, device=x.device) < lengths[:, None]
    top = x.amax(dim=(1, 2), keepdim=True)  # taken out before exp, which overflows at 88
    power = ((x - top).exp() * inside[:, :, None]).sum(dim=(1, 2)) / (lengths * bins)
    grain = torch.randn(size, frames, bins, generator=generator).to(x.device) * 0.5
    noise = top + (power.log() + level)[:, None, None] + grain
    return torch.where(chosen[:, None, None], torch.logaddexp(x, noise), x)


def mask_sound(x: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
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
