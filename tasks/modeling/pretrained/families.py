"""Which adapter reads which encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from data_contracts.refs import Modality
from tasks.encoder_ids import parse_encoder
from tasks.errors import UsageError
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.adapter import Pretrained, Settings
from tasks.modeling.pretrained.depths import LAST
from tasks.modeling.pretrained.framewise import FrameWise
from tasks.modeling.pretrained.locate import Place
from tasks.progress import note


def family_settings(modality: Modality, encoder: str, place: Place | None) -> Settings:
    """All that rebuilds an encoder's network, and that its inputs are made by. Raises UsageError for what is no encoder."""
    parsed = parse_encoder(encoder, modality)
    if parsed.family == "torchvision":
        from tasks.modeling.pretrained.torchvision_models import torchvision_settings

        return torchvision_settings(modality, encoder, parsed)
    assert place is not None  # an hf encoder always has files
    return MODALITIES[modality].pretrained_settings(encoder, place)


def build_pretrained(modality: Modality, spec: EncoderSpec) -> Pretrained:
    """The network of a spec with random weights; ValueError where the spec describes none."""
    settings = spec.settings
    if "adapter" not in settings:
        raise ValueError(f"{modality} encoder {spec.encoder!r}: nothing says what its network is")
    encoder = _adapter(str(settings["adapter"]))(settings)
    reads_pictures = str(settings["adapter"]).endswith("-pictures")
    return FrameWise(encoder) if MODALITIES[modality].has_frames and reads_pictures else encoder


def measure_width(modality: Modality, spec: EncoderSpec) -> int:
    """The length of an encoder's vectors, found without making its weights where that can be.

    Raises UsageError for a network that cannot be built, cannot read pictures of the side asked for, or lacks a layer.
    """
    side = int(spec.settings.get("px", 0))
    try:
        with torch.device("meta"), torch.inference_mode():
            encoder = _build_with_layers(modality, spec)
            if spec.settings["adapter"].startswith("torchvision-"):
                encoder(*_pixels_of(modality, side))
            return _width(modality, encoder, side)
    except NotImplementedError:  # a network whose shape is computed with tensors (RegNet)
        with torch.inference_mode():
            return _width(modality, _build_with_layers(modality, spec), side)
    except (ValueError, RuntimeError, AssertionError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        what, remedy = note("its network cannot be built"), note(f"choose another for encoders.{modality}")
        if MODALITIES[modality].has_pixels:
            what, remedy = note(f"cannot read pictures of {side} px"), note("change encoders.image_px")
        raise UsageError(f"{modality} encoder {spec.encoder}: {what} ({reason}); {remedy}") from None


def _build_with_layers(modality: Modality, spec: EncoderSpec) -> Pretrained:
    encoder = build_pretrained(modality, spec).eval()
    try:
        encoder.read_layers(modality, spec.layers)
    except ValueError as error:
        raise UsageError(f"encoders.layers.{modality}: {spec.encoder}: {error}") from None
    return encoder


def _width(modality: Modality, encoder: Pretrained, side: int) -> int:
    """Layers of a transformer are as wide as its output; those of a network of pictures differ, so it is asked."""
    if encoder.layers == (LAST,):
        return encoder.width
    if MODALITIES[modality].has_pixels:
        return int(encoder(*_pixels_of(modality, side)).shape[1])
    config: Any = encoder.network.config  # of transformers, as all encoders of sound and text are
    own = encoder.width if LAST in encoder.layers else 0
    deep = len(encoder.layers) - (LAST in encoder.layers)
    return own + deep * int(config.hidden_size) * (2 if encoder.spread else 1)


def _pixels_of(modality: Modality, side: int) -> tuple[Tensor, Tensor]:
    shape = (1, 1, 3, side, side) if MODALITIES[modality].has_frames else (1, 3, side, side)
    return torch.zeros(shape), torch.ones(1, dtype=torch.long)


def _adapter(name: str) -> Callable[[Settings], Pretrained]:
    if name.startswith("torchvision-"):
        from tasks.modeling.pretrained import torchvision_models

        return {"torchvision-pictures": torchvision_models.Pictures, "torchvision-clips": torchvision_models.Clips}[
            name
        ]
    if name == "timm-pictures":
        from tasks.modeling.pretrained import timm_models

        return timm_models.Pictures
    if name == "hf-text":
        from tasks.modeling.pretrained import hf_text

        return hf_text.Text
    if name in ("hf-pictures", "hf-clips"):
        from tasks.modeling.pretrained import hf_image

        return hf_image.Pictures if name == "hf-pictures" else hf_image.Clips
    if name in ("hf-speech", "hf-spectrogram", "hf-whisper"):
        from tasks.modeling.pretrained import hf_audio

        sounds = {"hf-speech": hf_audio.Speech, "hf-spectrogram": hf_audio.Spectrogram, "hf-whisper": hf_audio.Whisper}
        return sounds[name]
    raise ValueError(f"no adapter is called {name!r}")
