"""The rows of one split as arrays, and the batches made of them: from tables, or from tensors that stay on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data_contracts.refs import InputName, Split
from tasks.errors import DataError
from tasks.modalities import spec_of
from tasks.modeling.batches import to_tensors
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import Index, Inputs
from tasks.modeling.fusion.classifier import Present
from tasks.modeling.targets import EncodedTargets, Targets
from tasks.samples import Samples
from tasks.store import Store
from tasks.train.distillation import Teacher, load_teacher
from tasks.train.request import TrainJob


@dataclass(frozen=True)
class Dataset:
    """The rows of one split, ready to be drawn from."""

    inputs: Inputs
    targets: EncodedTargets
    weights: npt.NDArray[np.float32]
    """(N,), 1 on average."""
    teacher: Teacher | None = None
    """What another model says of the rows, to learn from besides the labels."""

    @property
    def rows(self) -> int:
        """N."""
        return self.inputs.rows

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """(N, K) whether a row has a modality, in the order of the table of modalities."""
        return np.stack([places >= 0 for places in self.inputs.places.values()], axis=1)

    def text_lengths(self) -> Index:
        """(N,) tokens or bytes of each row's text, 0 where it has none; of K texts K times the longest, which bounds what
        they fill once they are padded.

        DataError where no row can have any, or the texts are vectors already.
        """
        texts = [name for name in self.inputs.tables if spec_of(name).has_tokens]
        if not texts:
            raise DataError("train.max_tokens: there is no text in these samples; leave it out")
        if self.inputs.tables[texts[0]].values.dtype.kind == "f":  # bytes and tokens are integers
            raise DataError(
                "train.max_tokens: the text encoder is frozen, its vectors have no length; leave it out, or train it"
            )
        longest = np.zeros(self.rows, np.int64)
        for name in texts:
            places = self.inputs.places[name]
            there = places >= 0
            longest[there] = np.maximum(longest[there], self.inputs.tables[name].lengths[places[there]])
        return len(texts) * longest


def load_dataset(samples: Samples, split: Split, job: TrainJob, targets: Targets, store: Store) -> Dataset:
    """The rows of a split with their features; DataError where there are none, or their weights sum to nothing."""
    rows = samples.of_split(split)
    if not len(rows):
        raise DataError(f"training: there are no rows in the {split} split; give some, or raise split.{split}")
    weights = rows.weights.astype(np.float32)
    if not weights.mean() > 0:
        raise DataError(f"training: the weights of the {split} rows sum to {weights.sum():g}; at least one must be > 0")
    teacher = load_teacher(job.distillation, rows.ids, store)
    return Dataset(Inputs.load(rows, job.features, store), targets.encode(rows), weights / weights.mean(), teacher)


class Source(Protocol):
    """Where batches come from."""

    def take(self, rows: Index) -> dict[InputName, Present]:
        """What the model takes in of these rows, on the device; a modality that no row has is left out."""


class TableSource:
    """Batches cut from numpy tables and moved to the device one by one."""

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self.inputs, self.device = inputs, device

    def take(self, rows: Index) -> dict[InputName, Present]:
        """What the model takes in of these rows; on a CUDA device pictures lie channels last, as tensor cores want them."""
        cut = self.inputs.batch(rows)
        if self.device.type == "cuda":  # from pinned memory a copy runs beside the kernels
            cut = {name: replace(part, values=_pinned(part.values)) for name, part in cut.items()}
        batch = to_tensors(cut, self.device)
        if self.device.type == "cuda":
            for name, part in batch.items():
                if part.values.ndim == 4:
                    values = part.values.contiguous(memory_format=torch.channels_last)
                    batch[name] = part._replace(values=values)
        return batch


def _pinned(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    found: npt.NDArray[np.generic] = torch.from_numpy(values).pin_memory().numpy()
    return found


class ResidentSource:
    """Batches picked from embeddings that lie on the device from the start: no step touches numpy."""

    def __init__(self, inputs: Inputs, device: torch.device) -> None:
        self.tables: dict[InputName, Tensor] = {}
        self.places: dict[InputName, Tensor] = {}
        self.complete: dict[InputName, bool] = {}
        self.device = device
        for name, table in inputs.tables.items():
            count = max(1, len(table.lengths))
            self.tables[name] = torch.from_numpy(table.values.reshape(count, -1)).to(device)
            self.places[name] = torch.from_numpy(inputs.places[name]).to(device)
            self.complete[name] = bool((inputs.places[name] >= 0).all())
        self._positions: dict[int, tuple[Tensor, Tensor]] = {}

    def take(self, rows: Index) -> dict[InputName, Present]:
        """The embeddings of these rows: (P, width) float32."""
        chosen = torch.from_numpy(rows).to(self.device)
        batch: dict[InputName, Present] = {}
        for name, table in self.tables.items():
            places = self.places[name].index_select(0, chosen)
            if self.complete[name]:
                positions, lengths = self._whole(len(rows), table.shape[1])
            else:
                positions = (places >= 0).nonzero().squeeze(1)
                if not positions.numel():
                    continue
                places = places.index_select(0, positions)
                lengths = torch.full_like(positions, table.shape[1])
            batch[name] = Present(positions, table.index_select(0, places).float(), lengths)
        return batch

    def _whole(self, size: int, width: int) -> tuple[Tensor, Tensor]:
        """Positions and lengths of a batch in which no row lacks anything; made once per size."""
        if size not in self._positions:
            positions = torch.arange(size, device=self.device)
            self._positions[size] = positions, torch.full_like(positions, width)
        return self._positions[size]


def source_of(inputs: Inputs, specs: Mapping[InputName, EncoderSpec], device: torch.device) -> Source:
    """Tensors on the device where all that is read are embeddings, else tables."""
    if all(spec.reads == "embedding" for spec in specs.values()):
        return ResidentSource(inputs, device)
    return TableSource(inputs, device)
