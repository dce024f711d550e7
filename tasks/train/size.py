"""How many parameters a trained model has, and how many of them its training changed."""

from __future__ import annotations

from pathlib import Path

from data_contracts.modalities import modality_of
from tasks.config import TrainConfig
from tasks.modeling.card import read_card
from tasks.modeling.package import load_model
from tasks.modeling.pretrained.weights import frozen_encoder
from tasks.train.finetuning import parameter_groups
from tasks.train.lora import add_lora


def count_parameters(folder: Path, config: TrainConfig) -> tuple[int, int]:
    """(all, trained) of the model in a checkpoint's folder: frozen encoders, which lie beside it, count among all, and the
    low-rank updates, which are merged into what they update, among the trained."""
    card = read_card(folder)
    model = load_model(folder, card)
    frozen = {
        spec.weights_sha256: frozen_encoder(modality_of(name), spec)
        for name, spec in card.encoders.items()
        if spec.reads == "embedding"
    }
    whole = sum(number.numel() for part in (model, *frozen.values()) for number in part.parameters())
    if config.regime == "lora":
        add_lora(model, config)
    return whole, sum(number.numel() for group in parameter_groups(model, config) for number in group["params"])
