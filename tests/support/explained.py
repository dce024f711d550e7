"""A small model that is trained here and now, in a second, on rows whose label shows in what it is told to show in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tasks.explain.encoded import Encoded
from tasks.explain.explainer import Explainer, MediaRow
from tasks.modeling.card import ModelCard
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.package import build_model
from tests.support.cards import card_of

LABELS = ("high", "low")
SIDE = 16


@dataclass(frozen=True)
class Trained:
    explainer: Explainer
    rows: list[MediaRow]
    """Not trained on."""
    truth: np.ndarray
    encoded: Encoded


def make_row(label: int, shows: Collection[str], rng: np.random.Generator) -> MediaRow:
    """A picture with a bright square in one corner or the other, a sound of low or high tones, and a sentence."""
    picture = rng.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    told = {name: label if name in shows else int(rng.integers(2)) for name in ("image", "audio", "text")}
    corner = slice(2, 7) if told["image"] else slice(9, 14)
    picture[corner, corner] += 180
    sound = rng.normal(-10, 0.5, (24, 16)).astype(np.float32)
    sound[8:16, (3 if told["audio"] else 11) : (6 if told["audio"] else 14)] += 8
    text = f"it is {LABELS[told['text']]} now {rng.integers(1000)}"
    features = {"image": picture, "text": np.frombuffer(text.encode(), np.uint8), "audio": sound}
    return MediaRow({"text": text}, features)  # type: ignore[arg-type]


def batch_of(rows: list[MediaRow]) -> dict[Any, Present]:
    found = {}
    for name in ("image", "text", "audio"):
        arrays = [row.features[name] for row in rows]  # type: ignore[index]
        lengths = torch.tensor([len(array) for array in arrays])
        padded = np.zeros((len(arrays), int(lengths.max()), *arrays[0].shape[1:]), arrays[0].dtype)
        for place, array in enumerate(arrays):
            padded[place, : len(array)] = array
        from tasks.modalities import spec_of

        found[name] = Present(torch.arange(len(rows)), spec_of(name).to_model(torch.from_numpy(padded)), lengths)  # type: ignore[arg-type]
    return found


def train(
    shows: Collection[str], kind: str = "concat", steps: int = 30, seed: int = 0, shuffled: bool = False
) -> Trained:
    """`shows`: inputs that tell the label; the others tell another one at random. `shuffled`: none does."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    card = ModelCard.model_validate(card_of(LABELS, ("image", "text", "audio")))
    fusion = card.config.fusion.model_copy(update={"kind": kind, "embed_dim": 32, "hidden": 32})
    card = card.model_copy(update={"config": card.config.model_copy(update={"fusion": fusion})})
    model: FusedClassifier = build_model(card)
    truth = rng.integers(0, 2, 160)
    rows = [make_row(int(rng.integers(2)) if shuffled else int(label), shows, rng) for label in truth]
    learned, optimizer = rows[:96], torch.optim.AdamW(model.parameters(), 3e-3)
    whole, target = batch_of(learned), torch.from_numpy(truth[:96])
    model.train()
    for _ in range(steps):
        hidden = torch.rand(96, 3) < 0.25
        loss = torch.nn.functional.cross_entropy(model(whole, 96, hidden).logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    explainer = Explainer(model, card, card.encoders)  # type: ignore[arg-type]
    kept = rows[96:]
    alone = [explainer.encode(row) for row in kept]
    encoded = Encoded(
        {name: torch.cat([each.vectors[name] for each in alone]) for name in model.modalities},
        {name: np.ones(len(kept), bool) for name in model.modalities},
    )
    return Trained(explainer, kept, truth[96:].astype(float), encoded)
