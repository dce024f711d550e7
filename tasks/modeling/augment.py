"""Random changes that leave the class as it is. Every draw comes from the generator that is passed in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from tasks.config import TrainConfig
from tasks.modeling.augment_audio import change_sound, mask_sound
from tasks.modeling.augment_images import change_pictures
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import TinyText
from tasks.modeling.fusion.classifier import Present

HIDDEN_BYTES = 0.05


def augment(
    batch: Mapping[InputName, Present],
    config: TrainConfig,
    specs: Mapping[InputName, EncoderSpec],
    generator: torch.Generator,
) -> dict[InputName, Present]:
    """The batch with what may be changed at random; shapes stay, but for the time axis of the tiny encoder's sound.

    Pictures and frames are moved and recoloured as `flip`, `crop` and `trivial_augment` say. Sound for the tiny encoder is
    warped (`pitch`), coloured and masked; spectrograms for a pretrained one, whose scale is its own, are only masked.
    Bytes of text are hidden for the tiny encoder. Embeddings, waveforms and the tokens of a pretrained tokenizer stay.
    """
    changed = dict(batch)
    for name, part in batch.items():
        modality, spec = modality_of(name), specs[name]
        if not part.rows.numel() or spec.reads == "embedding":
            continue
        if modality == "image":
            frames = change_pictures(part.values.unsqueeze(1), config, generator)
            changed[name] = part._replace(values=frames.squeeze(1))
        elif modality == "video":
            changed[name] = part._replace(values=change_pictures(part.values, config, generator))
        elif modality == "audio" and spec.encoder == "tiny":
            changed[name] = change_sound(part, config.pitch, generator)
        elif modality == "audio" and part.values.ndim == 3:
            changed[name] = part._replace(values=mask_sound(part.values, part.lengths, generator))
        elif modality == "text" and spec.encoder == "tiny":
            changed[name] = part._replace(values=hide_bytes(part, generator))
    return changed


def hide_bytes(part: Present, generator: torch.Generator) -> Tensor:
    """Text (B, L) with some bytes replaced by the unknown one."""
    chosen = torch.rand(part.values.shape, generator=generator).to(part.values.device) < HIDDEN_BYTES
    return part.values.masked_fill(chosen, TinyText.unknown)
