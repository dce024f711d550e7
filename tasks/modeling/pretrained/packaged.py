"""Encoders that a model brings along: their weights are in model.safetensors, all else in its card and its tokenizer file.

Inside the program such an encoder has an id of its own, `model:FOLDER`, so that it is asked for like any other. No config may
say it.
"""

from __future__ import annotations

from pathlib import Path

from data_contracts.modalities import modality_of
from data_contracts.refs import Modality
from tasks.encoder_ids import parse_encoder
from tasks.errors import DataError
from tasks.modalities import MODALITIES
from tasks.modeling.card import CARD, read_card
from tasks.modeling.encoder_spec import EncoderSpec


def packaged_encoder(folder: Path) -> str:
    """The id of the encoders of the model in a folder."""
    return f"model:{folder}"


def package_folder(modality: Modality, encoder: str) -> Path | None:
    """The model's folder, where an id is one of these."""
    parsed = parse_encoder(encoder, modality)
    return Path(parsed.name) if parsed.family == "model" else None


def packaged_spec(modality: Modality, folder: Path) -> EncoderSpec:
    """What the model's card says of an encoder, under the id that it had when the model was trained.

    Raises EnvironmentFailed where the card is gone, DataError where it is damaged.
    """
    for name, spec in read_card(folder).encoders.items():
        if modality_of(name) == modality:  # all inputs of a modality have the same
            return spec
    raise DataError(f"model {folder / CARD}: does not describe its encoder of {modality}; train again")


def is_packaged(modality: Modality, spec: EncoderSpec) -> bool:
    """Whether a model holds all of this encoder, so that the files it came from are not needed any more.

    Not where it was frozen: its weights are not the model's. Nor where its tokenizer cannot be written as one JSON file.
    """
    family = parse_encoder(spec.encoder, modality).family
    if spec.reads == "embedding" or family not in ("torchvision", "hf"):
        return False
    return not MODALITIES[modality].has_tokens or spec.tokenizer_sha256 is not None
