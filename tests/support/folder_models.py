"""Models in a folder for tests of what predicts: random weights, nothing trained, nothing published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from tasks.config import EncodersConfig
from tasks.modeling.card import ModelCard
from tasks.modeling.package import build_model, save_model
from tasks.modeling.pretrained.describe import describe_encoder
from tests.support.cards import card_of


def write_model(folder: Path, seed: int = 0, frozen: Mapping[str, str] | None = None) -> Path:
    """A model that reads image, text and audio by `tiny` encoders, or by frozen ones; the seed decides its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    record = card_of(("high", "low"), ("image", "text", "audio"))
    for name, encoder in (frozen or {}).items():
        record["encoders"][name] = describe_encoder(name, encoder, "head", EncodersConfig()).model_dump(mode="json")
    card = ModelCard.model_validate(record)
    torch.manual_seed(seed)
    save_model(build_model(card).eval(), folder, card)
    return folder
