"""Models in a folder for tests of what predicts: random weights, nothing trained, nothing published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.config import EncodersConfig
from tasks.modeling.card import ModelCard
from tasks.modeling.package import build_model, save_model
from tasks.modeling.pretrained.describe import describe_encoder
from tasks.modeling.signing import MANIFEST, make_statement
from tasks.store import digest_file
from tests.support.cards import card_of


def write_model(
    folder: Path,
    seed: int = 0,
    frozen: Mapping[str, str] | None = None,
    inputs: Sequence[str] = ("image", "text", "audio"),
    encoders: Mapping[str, Any] | None = None,
    media: Mapping[str, Any] | None = None,
    uncertainty: Mapping[str, Any] | None = None,
    *,
    labels: Sequence[str] = ("high", "low"),
    targets: Sequence[Mapping[str, Any]] | None = None,
) -> Path:
    """A model of `tiny` encoders, of `frozen` ones by their ids, or of described ones; the seed decides its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    record = card_of(labels, inputs, targets=targets)
    for name, encoder in (frozen or {}).items():
        record["encoders"][name] = describe_encoder(name, encoder, "head", EncodersConfig()).model_dump(mode="json")
    record["encoders"].update(encoders or {})
    record["config"]["media"].update(media or {})
    if uncertainty is not None:
        record["uncertainty"] = uncertainty
    card = ModelCard.model_validate(record)
    torch.manual_seed(seed)
    save_model(build_model(card).eval(), folder, card)
    return folder


def list_verified(folder: Path) -> None:
    """The folder's files are as those of a version that was verified."""
    files = {path.name: digest_file(path) for path in folder.iterdir() if path.is_file() and path.name != MANIFEST}
    (folder / MANIFEST).write_bytes(make_statement(f"models:/{folder.name}/1", files).to_json())
