"""Which adapter reads which encoder."""

from __future__ import annotations

from collections.abc import Callable

import torch

from data_contracts.refs import Modality
from tasks.encoder_ids import parse_encoder
from tasks.errors import UsageError
from tasks.modalities import MODALITIES
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.pretrained.adapter import Pretrained, Settings
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
    reads_pictures = settings["adapter"] in ("torchvision-pictures", "hf-pictures")
    return FrameWise(encoder) if MODALITIES[modality].has_frames and reads_pictures else encoder


def measure_width(modality: Modality, spec: EncoderSpec) -> int:
    """The length of an encoder's vectors, found without making its weights where that can be.

    Raises UsageError for a network that cannot be built, or cannot read pictures of the side asked for.
    """
    side = int(spec.settings.get("px", 0))
    try:
        with torch.device("meta"), torch.inference_mode():
            encoder = build_pretrained(modality, spec).eval()
            if spec.settings["adapter"].startswith("torchvision-"):
                shape = (1, 1, 3, side, side) if MODALITIES[modality].has_frames else (1, 3, side, side)
                encoder(torch.zeros(shape), torch.ones(1, dtype=torch.long))
    except NotImplementedError:  # a network whose shape is computed with tensors (RegNet)
        encoder = build_pretrained(modality, spec)
    except (ValueError, RuntimeError, AssertionError, AttributeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        what, remedy = note("its network cannot be built"), note(f"choose another for encoders.{modality}")
        if MODALITIES[modality].has_pixels:
            what, remedy = note(f"cannot read pictures of {side} px"), note("change encoders.image_px")
        raise UsageError(f"{modality} encoder {spec.encoder}: {what} ({reason}); {remedy}") from None
    return encoder.width


def _adapter(name: str) -> Callable[[Settings], Pretrained]:
    if name.startswith("torchvision-"):
        from tasks.modeling.pretrained import torchvision_models

        return {"torchvision-pictures": torchvision_models.Pictures, "torchvision-clips": torchvision_models.Clips}[
            name
        ]
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
