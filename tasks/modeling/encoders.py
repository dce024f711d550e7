"""The `tiny` encoders: small networks trained from scratch on a CPU in minutes. Padding never changes a row's result."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from data_contracts.refs import Modality
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_base import Embedded, Encoder, Standardised, length_mask, may_be_padded
from tasks.modeling.encoder_spec import EncoderSpec

DROPOUT = 0.1


def _halve(x: Tensor, keep_odd: bool = False) -> Tensor:
    """(B, C, H, W) -> (B, C, H / 2, W / 2), the largest of each 2x2; an odd last line is left out, or kept by itself.

    Without gradients the same values by comparing every second line: torch's own pooling also notes where each came from, and
    took a third of the network's time on a CPU.
    """
    if torch.is_grad_enabled() or x.is_cuda:
        return functional.max_pool2d(x, 2, ceil_mode=keep_odd)
    for axis in (3, 2):
        pairs, odd = divmod(x.shape[axis], 2)
        first, second = (x[(slice(None),) * axis + (slice(start, 2 * pairs, 2),)] for start in (0, 1))
        rest = [x.narrow(axis, 2 * pairs, 1)] if odd and keep_odd else []
        x = torch.cat([torch.maximum(first, second), *rest], axis) if rest else torch.maximum(first, second)
    return x


class _Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al., 2016): (B, C, H, W) -> (B, D, H, W)."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.norm_first = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm_second = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, H, W)"""
        x = functional.relu(self.norm_first(self.first(x)), inplace=True)
        return functional.relu(x + self.norm_second(self.second(x)), inplace=True)


class TinyImage(Encoder):
    """A small residual network on square RGB pictures of any side."""

    width = 128

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.middle = _Block(32, 64)
        self.last = _Block(64, self.width)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], (B,) unused -> (B, width)."""
        x = self.stem((x - 0.5) * 4.0)
        x = self.middle(_halve(x))
        x = self.last(_halve(x))
        x = _halve(x)
        return x.mean(dim=(2, 3)) + x.amax(dim=(2, 3))


class _MaskedConv(nn.Module):
    """Convolution, norm, ReLU over (B, C, T, M), zero beyond each row's length."""

    def __init__(self, inside: int, outside: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, size, stride=stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` is (B, 1, T, 1); None: all ones."""
        x = functional.relu(self.norm(self.conv(x)), inplace=True)
        if mask is None:
            return x
        return x * mask if torch.is_grad_enabled() else x.mul_(mask)


class TinyAudio(Encoder):
    """A convolutional network on log-mel frames, normalised per clip, pooled over the frames that exist."""

    width = 128
    range_nats = 9.0  # what lies further below the clip's loudest bin counts as silence (39 dB)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _MaskedConv(1, 32, size=5, stride=2)
        self.blocks = nn.ModuleList([_MaskedConv(32, 48), _MaskedConv(48, 96)])
        self.last = _MaskedConv(96, self.width)
        self.drop = nn.Dropout2d(DROPOUT)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, M) natural-log mel power, (B,) frames -> (B, width)."""
        padded = may_be_padded(lengths, x.shape[1])

        def mask(longest: int) -> Tensor | None:
            """(B, 1, longest, 1) of the frames that are left, 1 inside and 0 beyond; None: 1 everywhere."""
            return length_mask(lengths, longest)[:, None, :, None] if padded else None

        x = self._normalise(x, length_mask(lengths, x.shape[1]) if padded else None).unsqueeze(1)
        lengths = (lengths + 1) // 2
        x = self.stem(x, mask(-(-x.shape[2] // 2)))  # (B, 32, T / 2, M / 2)
        for block in self.blocks:
            x = self.drop(block(x, mask(x.shape[2])))
            x = _halve(x, keep_odd=True)
            lengths = (lengths + 1) // 2
        x = self.last(x, mask(x.shape[2]))
        x = x.mean(dim=3)  # (B, width, T / 8)
        return x.sum(dim=2) / lengths[:, None].to(x.dtype) + x.amax(dim=2)

    def _normalise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Zero mean and unit deviation over a clip's own frames and bins: level and microphone gain drop out."""
        if mask is None:
            x = torch.maximum(x, x.amax(dim=(1, 2), keepdim=True) - self.range_nats)
            bins = x.shape[1] * x.shape[2]
            x = x - x.sum(dim=(1, 2), keepdim=True) / bins
            return x / (((x * x).sum(dim=(1, 2), keepdim=True) / bins).sqrt() + 1e-3)
        keep = mask.unsqueeze(2)
        top = x.masked_fill(keep == 0, -torch.inf).amax(dim=(1, 2), keepdim=True)
        x = torch.maximum(x, top - self.range_nats)
        count = keep.sum(dim=(1, 2), keepdim=True) * x.shape[2]
        mean = (x * keep).sum(dim=(1, 2), keepdim=True) / count
        x = (x - mean) * keep
        deviation = ((x * x).sum(dim=(1, 2), keepdim=True) / count).sqrt()
        return x / (deviation + 1e-3)


class TinyText(Encoder):
    """Convolutions over embedded UTF-8 bytes, pooled over the bytes that exist."""

    width = 128
    unknown = 256  # the id that augmentation puts where it hides a byte

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(self.unknown + 1, 64)
        self.first = nn.Conv1d(64, 128, 5, padding=2)
        self.second = nn.Conv1d(128, self.width, 5, padding=2)
        self.norm_first = nn.LayerNorm(128)
        self.norm_second = nn.LayerNorm(self.width)
        self.drop = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) byte values, (B,) bytes -> (B, width)."""
        if not may_be_padded(lengths, x.shape[1]):
            h = self._second(self._first(self.drop(self.embed(x))))
            return h.amax(dim=1) + h.sum(dim=1) / lengths[:, None].to(h.dtype)
        mask = length_mask(lengths, x.shape[1]).unsqueeze(2)
        h = self._second(self._first(self.drop(self.embed(x)) * mask) * mask)
        peak = h.masked_fill(mask == 0, -torch.inf).amax(dim=1)
        return peak + (h * mask).sum(dim=1) / lengths[:, None].to(h.dtype)

    def _first(self, h: Tensor) -> Tensor:
        """(B, L, 64) -> (B, L, 128)"""
        return functional.gelu(self.norm_first(self.first(h.transpose(1, 2)).transpose(1, 2)))

    def _second(self, h: Tensor) -> Tensor:
        """(B, L, 128) -> (B, L, width)"""
        return functional.gelu(self.norm_second(self.second(h.transpose(1, 2)).transpose(1, 2)))


class TinyVideo(Encoder):
    """A small network shared by all frames, what changed from frame to frame, and attention over the frames that exist."""

    width = 128

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.middle = _Block(24, 48)
        self.last = _Block(48, 96)
        self.still = nn.Linear(96, self.width)
        self.change = nn.Linear(96, self.width, bias=False)
        self.score = nn.Linear(self.width, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, 3, S, S) in [0, 1], (B,) frames -> (B, width)."""
        mask = length_mask(lengths, x.shape[1]) > 0  # (B, N)
        seen = self._look(x[mask])  # padding is left out, so that it does not enter the batch norms
        frames = torch.zeros(*mask.shape, seen.shape[1], dtype=seen.dtype, device=x.device)
        frames[mask] = seen
        steps = functional.pad(frames[:, 1:] - frames[:, :-1], (0, 0, 1, 0))  # the first frame has none before it
        h = functional.gelu(self.still(frames) + self.change(steps))
        weights = self.score(h).squeeze(2).masked_fill(~mask, -torch.inf).softmax(dim=1)
        mean = (h * mask.unsqueeze(2)).sum(dim=1) / lengths[:, None].to(h.dtype)
        chosen: Tensor = (h * weights.unsqueeze(2)).sum(dim=1)
        return chosen + mean

    def _look(self, x: Tensor) -> Tensor:
        """(F, 3, S, S) -> (F, 96)."""
        x = self.stem((x - 0.5) * 4.0)
        x = self.middle(_halve(x))
        x = self.last(_halve(x))
        x = _halve(x)
        return x.mean(dim=(2, 3)) + x.amax(dim=(2, 3))


def build_encoder(modality: Modality, spec: EncoderSpec) -> Encoder:
    """The network of an encoder, without pretrained weights; ValueError where the spec describes none."""
    if spec.reads == "embedding":
        if spec.width is None:
            raise ValueError(f"{modality} encoder {spec.encoder!r}: the width of its embedding is not given")
        power = MODALITIES[modality].classical_scaling if spec.encoder == "classical" else None
        return Embedded(spec.width) if power is None else Standardised(spec.width, power)
    if spec.encoder != "tiny":
        from tasks.modeling.pretrained.families import build_pretrained

        return build_pretrained(modality, spec)
    # Channels last halves the time of a convolution on a CPU (measured: 47 to 29 ms a step of 64 pictures).
    return MODALITIES[modality].tiny_network(spec).to(memory_format=torch.channels_last)
