"""What encoders read of a canonical medium, each as it wants it: pixels, frames, bytes or tokens, spectra or waveforms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import soxr

from data_contracts.refs import Modality
from tasks.extract.tiny import TINY, square
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.describe import require_place
from tasks.modeling.pretrained.packaged import package_folder

Dtype = Literal["uint8", "int16", "int32", "float32"]
Prepare = Callable[[Any, int], np.ndarray]
"""Canonical medium and its sample rate in Hz -> the feature."""
PRETRAINED_KEYS: dict[Modality, tuple[str, ...]] = {
    "image": ("image_px",),
    "text": ("max_tokens",),
    "audio": (),
    "video": ("video_px",),
}
"""The knobs of ExtractConfig that change what a pretrained encoder reads."""


def extract_keys(modality: Modality, pretrained: bool) -> tuple[str, ...]:
    """The knobs of ExtractConfig that shape an encoder's inputs."""
    return PRETRAINED_KEYS[modality] if pretrained else MODALITIES[modality].extract_keys


def input_dtype(modality: Modality, pretrained: bool) -> Dtype:
    """The type in which an encoder's inputs are stored."""
    if pretrained and modality in ("text", "audio"):
        return "int32" if modality == "text" else "int16"
    return "float32" if modality == "audio" else "uint8"


def preparer(modality: Modality, spec: EncoderSpec, knobs: dict[str, Any]) -> Prepare:
    """Makes an encoder's inputs; safe among threads. UsageError where its tokenizer is not on this machine."""
    if spec.encoder == "tiny":
        return lambda medium, rate_hz: TINY[modality](medium, rate_hz, knobs)
    settings = spec.settings
    if modality == "image":
        side = knobs["image_px"] or settings["px"]
        return lambda picture, rate_hz: square(picture, side, settings["resample"])
    if modality == "video":
        side = knobs["video_px"] or settings["px"]
        return lambda clip, rate_hz: np.stack([square(frame, side, settings["resample"]) for frame in clip])
    if modality == "text":
        return _tokens(spec, int(knobs["max_tokens"]))
    return functools.partial(_waveform, settings["rate_hz"])


def _waveform(wanted_hz: int, pcm: np.ndarray, rate_hz: int) -> np.ndarray:
    """int16 (T,) at one rate -> int16 (T',) at another."""
    if rate_hz == wanted_hz:
        return pcm
    changed = soxr.resample(pcm.astype(np.float32), rate_hz, wanted_hz, quality="HQ")
    return np.asarray(np.clip(np.round(changed), -32_768, 32_767), dtype=np.int16)


def _tokens(spec: EncoderSpec, most: int) -> Prepare:
    """Text -> int32 (L,): the ids that the encoder's own tokenizer gives, at most `most` and what the network can place."""
    from tasks.modeling.pretrained.tokenization import packaged_tokenizer, tokenizer_of

    folder = package_folder("text", spec.encoder)
    if folder is None:
        tokenize = tokenizer_of(require_place("text", spec), spec, most)
    else:
        tokenize = packaged_tokenizer(folder, spec, most)
    return lambda text, rate_hz: tokenize(text)
