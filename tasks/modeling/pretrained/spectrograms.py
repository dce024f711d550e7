"""The spectrograms that two families of transformers read, computed on the device as their processors compute them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.audio_utils import mel_filter_bank

from tasks.modeling.pretrained.adapter import inside

_FLOOR = 1.192092955078125e-07  # the smallest power, as in Kaldi
_EMPHASIS = 0.97
_DECADES = 8.0  # below the loudest, all is silence to Whisper


class KaldiMel(nn.Module):
    """What ASTFeatureExtractor gives: natural-log mel power in frames of 25 ms every 10 ms, normalised, of fixed length."""

    filters: Tensor
    window: Tensor

    def __init__(self, rate_hz: int, processor: dict[str, Any]) -> None:
        super().__init__()
        self.frames, self.normalised = int(processor["max_length"]), bool(processor.get("do_normalize", True))
        self.mean, self.std = float(processor["mean"]), float(processor["std"])
        self.size, self.hop, self.n_fft = 400, 160, 512  # fixed in the processor, whatever the rate
        filters = mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=int(processor["num_mel_bins"]),
            min_frequency=20,
            max_frequency=rate_hz // 2,
            sampling_rate=rate_hz,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.register_buffer("filters", _tensor(filters), persistent=False)
        self.register_buffer("window", _tensor(np.hanning(self.size)), persistent=False)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) in [-1, 1), (B,) samples -> (B, frames, bins)."""
        mel: Tensor
        longest = self.size + self.hop * (self.frames - 1)
        x = functional.pad(x[:, :longest], (0, max(0, longest - x.shape[1])))
        with torch.autocast(x.device.type, enabled=False):
            frames = x.float().unfold(1, self.size, self.hop)
            frames = frames - frames.mean(dim=2, keepdim=True)
            before = functional.pad(frames[..., :-1], (1, 0))
            before[..., 0] = frames[..., 0]
            spectrum = torch.fft.rfft((frames - _EMPHASIS * before) * self.window, self.n_fft)
            mel = (spectrum.real.square() + spectrum.imag.square()) @ self.filters
            mel = mel.clamp(min=_FLOOR).log()
        real = 1 + (lengths.clamp(min=self.size) - self.size) // self.hop
        mel = mel * inside(real, self.frames).unsqueeze(2)  # the processor pads with zeros before it normalises
        if self.normalised:
            mel = (mel - self.mean) / (self.std * 2)
        return mel


class WhisperMel(nn.Module):
    """What WhisperFeatureExtractor gives: log10 mel power of a clip filled up with silence."""

    filters: Tensor
    window: Tensor

    def __init__(self, rate_hz: int, frames: int, processor: dict[str, Any]) -> None:
        super().__init__()
        self.hop, self.n_fft, self.frames = int(processor["hop_length"]), int(processor["n_fft"]), frames
        filters = mel_filter_bank(
            num_frequency_bins=1 + self.n_fft // 2,
            num_mel_filters=int(processor["feature_size"]),
            min_frequency=0.0,
            max_frequency=8000.0,
            sampling_rate=rate_hz,
            norm="slaney",
            mel_scale="slaney",
        )
        self.register_buffer("filters", _tensor(filters), persistent=False)
        self.register_buffer("window", _tensor(np.hanning(self.n_fft + 1)[:-1]), persistent=False)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B, T) in [-1, 1), silent beyond each clip's end -> (B, bins, frames), the first ones of the clip filled up."""
        samples = self.frames * self.hop
        if frames < self.frames:  # what the last window sees is silence, as if the clip had been filled up
            samples = frames * self.hop + self.n_fft
        x = functional.pad(x[:, :samples], (0, max(0, samples - x.shape[1])))
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.stft(x.float(), self.n_fft, self.hop, window=self.window, return_complex=True)[
                ..., :frames
            ]
            mel = self.filters.T @ (spectrum.real.square() + spectrum.imag.square())
            mel = mel.clamp(min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - _DECADES)
        return (mel + 4.0) / 4.0


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
