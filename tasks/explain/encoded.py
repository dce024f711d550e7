"""Rows after their encoders, and a model that takes them from there: fusion is tried many times, encoders look once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.refs import InputName
from tasks.modeling.batches import to_tensors
from tasks.modeling.encoder_base import Embedded, Encoder, Standardised
from tasks.modeling.features import Inputs
from tasks.modeling.fusion.classifier import FusedClassifier, Present

BATCH = 256


@dataclass(frozen=True)
class Encoded:
    """N rows as the encoders see them."""

    vectors: Mapping[InputName, Tensor]
    """(N, width of the encoder), zeros where a row lacks the input."""
    present: Mapping[InputName, NDArray[np.bool_]]
    """(N,)"""

    @property
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.present.values())))

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Encoded:
        """The rows at these positions, in this order."""
        places = np.asarray(rows, np.int64)
        return Encoded(
            {name: each[torch.from_numpy(places)] for name, each in self.vectors.items()},
            {name: each[places] for name, each in self.present.items()},
        )

    def swapped(self, name: InputName, donors: NDArray[np.int64]) -> Encoded:
        """The same rows, each with one input of another, `donors` (N,)."""
        return Encoded(
            {**self.vectors, name: self.vectors[name][torch.from_numpy(donors)]},
            {**self.present, name: self.present[name][donors]},
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread: the order of a sum depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def encode_rows(model: FusedClassifier, inputs: Inputs, batch_size: int = BATCH) -> Encoded:
    """All rows, encoded by the model's own encoders; embeddings of frozen ones are taken as they are."""
    present = {name: np.zeros(inputs.rows, bool) for name in model.modalities}
    vectors: dict[InputName, Tensor] = {}
    with torch.inference_mode(), one_thread():
        for start in range(0, inputs.rows, batch_size):
            rows = np.arange(start, min(start + batch_size, inputs.rows))
            for name, part in to_tensors(inputs.batch(rows), torch.device("cpu")).items():
                found = model.encoder_of(name)(part.values, part.lengths)
                whole = vectors.setdefault(name, torch.zeros(inputs.rows, found.shape[1]))
                whole[start + part.rows] = found.float()
                present[name][start + part.rows.numpy()] = True
    return Encoded({name: vectors.get(name, torch.zeros(inputs.rows, 1)) for name in model.modalities}, present)


class ScaledFeatures(nn.Module):
    """Classical features, and what scales them in a model: from what `prepare_tiny` makes to what is projected."""

    def __init__(self, features: Encoder, scaling: Standardised) -> None:
        super().__init__()
        self.features, self.scaling = features, scaling
        self.has_gradient, self.unknown = features.has_gradient, getattr(features, "unknown", None)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, ...), (B,) -> (B, width)."""
        scaled: Tensor = self.scaling(self.features(x, lengths), lengths)
        return scaled


class FusionOnly:
    """A model from its encoders' outputs on; it shares all weights with the model, which stays as it is."""

    def __init__(self, model: FusedClassifier) -> None:
        self.model = copy.copy(model)
        self.model._modules = dict(model._modules)
        widths = {name: cast(Encoder, model.encoders[owner]).width for name, owner in model.owners.items()}
        self.model.encoders = nn.ModuleDict({name: Embedded(width) for name, width in widths.items()})
        self.model.owners = {name: name for name in model.modalities}
        self.model.specs = {name: spec.model_copy(update={"reads": "embedding"}) for name, spec in model.specs.items()}

    def logits(self, encoded: Encoded, kept: Sequence[bool] | None = None) -> Tensor:
        """(N, outputs) the model's answer; of inputs that are not `kept`, as where they are missing."""
        batch = {}
        for place, name in enumerate(self.model.modalities):
            rows = np.flatnonzero(encoded.present[name]) if kept is None or kept[place] else np.zeros(0, np.int64)
            if len(rows):
                places = torch.from_numpy(rows)
                batch[name] = Present(places, encoded.vectors[name][places], torch.ones(len(rows), dtype=torch.int64))
        return self.model(batch, encoded.rows).logits.float()  # type: ignore[no-any-return]

    def outputs(self, encoded: Encoded, kept: Sequence[bool] | None = None) -> NDArray[np.float64]:
        """(N, outputs) probabilities, and numbers in their unit."""
        with torch.inference_mode(), one_thread():
            return self.model.targets.activate(self.logits(encoded, kept)).double().numpy()

    def fused(self, encoded: Encoded) -> NDArray[np.float32]:
        """(N, D) the vectors from which the answers are made, of length 1: the head's input, of late fusion what each
        input's vote is made from."""
        seen: list[Tensor] = []

        def keep(late: bool, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            """A forward hook."""
            seen.append(inputs[0].flatten(1) if late else output)

        hooks = [fusion.shared.register_forward_hook(partial(keep, fusion.late)) for fusion in self.model.fusions]
        try:
            with torch.inference_mode(), one_thread():
                self.logits(encoded)
        finally:
            for hook in hooks:
                hook.remove()
        return nn.functional.normalize(torch.cat(seen, dim=1).float(), dim=1).numpy()
