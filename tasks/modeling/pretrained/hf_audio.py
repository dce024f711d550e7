"""Encoders of sound from transformers. All read the waveform; what a spectrogram is made of is made on the device.

A stored waveform of 16 bits is a thirtieth of the spectrogram that Whisper reads of a clip of one second.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoFeatureExtractor, AutoModel, PreTrainedModel, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from tasks.errors import UsageError
from tasks.modeling.pretrained.adapter import Settings, inside, mean_of
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.spectrograms import KaldiMel, WhisperMel
from tasks.modeling.pretrained.transformers_models import LOCAL, Transformer, one_line, portable, read_config

_SPECTRA = {"whisper": "hf-whisper", "audio-spectrogram-transformer": "hf-spectrogram"}
_SPEECH = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
_STEADY = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
"""What these networks change at random in training beside dropout; it leaves weights without use, which DDP refuses."""


def audio_settings(encoder: str, place: Place) -> Settings:
    """Config, sample rate, and what the processor does to a sound. UsageError for an architecture that is not known."""
    config = read_config(encoder, place)
    kind = config.model_type
    if kind not in _SPECTRA and kind not in _SPEECH:
        raise UsageError(f"encoder {encoder}: {kind} is not among {', '.join([*_SPECTRA, *_SPEECH])}")
    try:
        extractor: Any = AutoFeatureExtractor.from_pretrained(place.root, **LOCAL)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"encoder {encoder}: no processor of sound in its folder ({one_line(error)})") from None
    names = ("do_normalize", "mean", "std", "max_length", "num_mel_bins", "feature_size", "n_fft", "hop_length")
    known = {
        name: getattr(extractor, name) for name in names if isinstance(getattr(extractor, name, None), int | float)
    }
    return {
        "adapter": _SPECTRA.get(kind, "hf-speech"),
        "config": portable(config),
        "rate_hz": int(extractor.sampling_rate),
        "processor": known,
    }


class Speech(Transformer):
    """wav2vec 2.0, HuBERT, WavLM: convolutions on the waveform, a transformer, the mean over the real frames."""

    spread = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.normalise = bool(settings["processor"].get("do_normalize", False))
        self.one_by_one = self.network.config.feat_extract_norm == "group"  # its statistics are over the whole row

    def make(self, config: Any) -> PreTrainedModel:
        """The network, the same in training as otherwise but for dropout."""
        for name, value in _STEADY.items():
            setattr(config, name, value)
        network: Any = AutoModel.from_config(config, trust_remote_code=False)
        return cast(PreTrainedModel, network)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) in [-1, 1), (B,) samples -> (B, width)."""
        network: Any = self.network
        shortest = self.receptive_field()
        x, lengths = functional.pad(x, (0, max(0, shortest - x.shape[1]))), lengths.clamp(min=shortest)
        mask = inside(lengths, x.shape[1])
        x = _standardise(x, mask) if self.normalise else x
        if self.one_by_one:
            rows = [network.feature_extractor(row[None, : int(n)])[0].T for row, n in zip(x, lengths, strict=True)]
            found = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        else:
            found = network.feature_extractor(x).transpose(1, 2)
        frames = inside(network._get_feat_extract_output_lengths(lengths), found.shape[1])
        projected = network.feature_projection(found)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        return self.joined(mean_of(network.encoder(hidden, attention_mask=frames)[0], frames), frames)

    def receptive_field(self) -> int:
        """The fewest samples that give one frame."""
        config: Any = self.network.config
        samples = 1
        for size, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            samples = (samples - 1) * stride + size
        return samples


class Spectrogram(Transformer):
    """The Audio Spectrogram Transformer, which was trained with the padding in sight."""

    spread = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.mel = KaldiMel(settings["rate_hz"], settings["processor"])

    def make(self, config: Any) -> PreTrainedModel:
        """The network."""
        network: Any = AutoModel.from_config(config, trust_remote_code=False)
        return cast(PreTrainedModel, network)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) in [-1, 1), (B,) samples -> (B, width)."""
        pooled: Tensor = self.network(input_values=self.mel(x, lengths)).pooler_output
        return self.joined(pooled)


class Whisper(Transformer):
    """Whisper's encoder on as many positions as there is sound, and the mean over them.

    It was trained on clips filled up to 30 s. The silence is left out, which for a clip of a second saves 29 parts of 30. A
    clip of full length gives what transformers computes; a shorter one attends to itself only, whatever the batch holds.
    """

    spread = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        config: Any = self.network.config
        self.mel = WhisperMel(settings["rate_hz"], 2 * int(config.max_source_positions), settings["processor"])

    def make(self, config: Any) -> PreTrainedModel:
        """The encoder without the decoder."""
        config.encoder_layerdrop = 0.0
        return WhisperEncoder(config)

    def read(self, place: Place) -> tuple[dict[str, Tensor], list[str]]:
        """The encoder's weights out of the whole model's."""
        weights, lost = self.read_as(WhisperModel, place)
        inner = "encoder."
        return (
            {name.removeprefix(inner): tensor for name, tensor in weights.items() if name.startswith(inner)},
            [name.removeprefix(inner) for name in lost if name.startswith(inner)],
        )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T) in [-1, 1), (B,) samples -> (B, width)."""
        network: Any = self.network
        samples_a_position = 2 * self.mel.hop
        places = ((lengths + samples_a_position - 1) // samples_a_position).clamp(1, self.mel.frames // 2)
        longest = max(1, min(-(-x.shape[1] // samples_a_position), self.mel.frames // 2))
        mel = self.mel(x, min(2 * longest + 2, self.mel.frames))  # its last position sees one frame more
        hidden = functional.gelu(network.conv2(functional.gelu(network.conv1(mel)))).transpose(1, 2)[:, :longest]
        hidden = hidden + network.embed_positions.weight[:longest]
        hidden = functional.dropout(hidden, p=network.dropout, training=self.training)
        mask = inside(places, longest)
        hidden = _attend(network.layers, hidden, mask)
        return self.joined(mean_of(network.layer_norm(hidden), mask), mask)


def _attend(layers: nn.ModuleList, hidden: Tensor, mask: Tensor) -> Tensor:
    """(B, L, D) through the layers of a transformer; none of its positions sees those that are not real."""
    bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=hidden.device)
    bias = bias.masked_fill(~mask, torch.finfo(hidden.dtype).min)[:, None, None, :]
    for layer in layers:
        hidden = layer(hidden, bias)
    return hidden


def _standardise(x: Tensor, mask: Tensor) -> Tensor:
    """Zero mean and unit variance over the real samples of each row, as Wav2Vec2FeatureExtractor does."""
    count = mask.sum(dim=1, keepdim=True)
    x = x * mask
    centred = (x - x.sum(dim=1, keepdim=True) / count) * mask
    return centred / torch.sqrt((centred * centred).sum(dim=1, keepdim=True) / count + 1e-7)
