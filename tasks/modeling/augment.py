"""Random changes that leave the class as it is. Every draw comes from the generator that is passed in."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from data_contracts.refs import InputName
from tasks.config import TrainConfig
from tasks.modalities import spec_of
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
        if part.rows.numel() and specs[name].reads == "inputs":
            changed[name] = spec_of(name).augment(part, specs[name], config, generator)
    return changed


def hide_bytes(part: Present, generator: torch.Generator) -> Tensor:
    """Text (B, L) with some bytes replaced by the unknown one."""
    chosen = torch.rand(part.values.shape, generator=generator).to(part.values.device) < HIDDEN_BYTES
    return part.values.masked_fill(chosen, TinyText.unknown)
