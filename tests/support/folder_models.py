"""Models in a folder for tests of what predicts: random weights, nothing trained, nothing published."""

from __future__ import annotations

from pathlib import Path

import torch

from tasks.modeling.card import ModelCard
from tasks.modeling.package import build_model, save_model
from tests.support.cards import card_of


def write_model(folder: Path, labels: tuple[str, ...] = ("high", "low"), seed: int = 0) -> Path:
    """A model of `tiny` encoders that reads image, text and audio; another seed gives another one."""
    folder.mkdir(parents=True, exist_ok=True)
    card = ModelCard.model_validate(card_of(labels, ("image", "text", "audio")))
    torch.manual_seed(seed)
    save_model(build_model(card).eval(), folder, card)
    return folder
