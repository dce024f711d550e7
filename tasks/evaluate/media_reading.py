"""A model that reads media in memory, as it reads those of the store: what they are changed for is measured, and not stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
from torch import Tensor

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from tasks.config import RunConfig
from tasks.encoder_ids import BUILT_IN
from tasks.media.media_store import MediaReader
from tasks.modalities import Medium
from tasks.modeling.card import ModelCard
from tasks.modeling.embed import embed
from tasks.modeling.encoder_base import Encoder
from tasks.modeling.encoder_reading import params_of, preparer
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import FeatureTable, Inputs
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.pretrained.describe import find_again
from tasks.modeling.pretrained.packaged import is_packaged, packaged_encoder
from tasks.samples import Samples
from tasks.store import Store

Media = Sequence[tuple[Medium, int] | None]
"""(N,) a row's medium with its rate in Hz; None where it has none."""


def read_media(samples: Samples, name: InputName, media: Mapping[InputName, str], store: Store) -> Media:
    """(N,) those of one input; `media` are the fingerprints under which they are stored."""
    cells = samples.digests(name)
    reader = MediaReader(store, modality_of(name), media[name])
    known = {digest: (medium, reader.rate_hz) for digest, medium in reader.read(filter(None, cells))}
    return [None if cell is None else known[cell] for cell in cells]


@dataclass(frozen=True)
class FeatureMaker:
    """How a model turns media of one input into features."""

    name: InputName
    spec: EncoderSpec
    card: ModelCard

    @classmethod
    def of(cls, name: InputName, card: ModelCard, folder: Path, config: RunConfig) -> FeatureMaker:
        """Of the model in a folder. Raises EnvironmentFailed where an encoder that it does not hold itself is gone."""
        modality, spec = modality_of(name), card.encoders[name]
        packaged = is_packaged(modality, spec, folder)
        encoder = packaged_encoder(folder) if packaged else find_again(modality, spec, config.encoders.of(modality))
        return cls(name, spec.model_copy(update={"encoder": encoder}), card)

    def make(self, media: Media) -> list[np.ndarray | None]:
        """(N,) the features."""
        modality = modality_of(self.name)
        is_built_in = self.card.encoders[self.name].encoder in BUILT_IN
        prepare = preparer(
            modality, self.spec, params_of(modality, self.card.config.extract, pretrained=not is_built_in)
        )
        prepared = ((str(row), prepare(*medium)) for row, medium in enumerate(media) if medium is not None)
        known = dict(prepared if self.spec.reads == "inputs" else embed(modality, self.spec, prepared))
        return [known.get(str(row)) for row in range(len(media))]


def with_features(inputs: Inputs, name: InputName, features: Sequence[np.ndarray | None]) -> Inputs:
    """The same rows with other features (N,) of one input."""
    arrays = [array for array in features if array is not None]
    if not arrays:
        return inputs
    lengths = np.array([len(array) for array in arrays], np.int64)
    there = np.array([array is not None for array in features])
    table = FeatureTable(
        modality=name,
        digests=pa.array([str(place) for place in range(len(arrays))], pa.string()),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        values=np.concatenate(arrays),
    )
    places = np.where(there, np.cumsum(there) - 1, -1)
    return replace(inputs, tables={**inputs.tables, name: table}, places={**inputs.places, name: places})


class _Remembered(Encoder):
    """An encoder whose outputs on the batches of one pass are given out again in every later pass over the same batches."""

    def __init__(self, inner: Encoder) -> None:
        super().__init__()
        self.width, self.has_gradient = inner.width, inner.has_gradient
        self.inner, self.outputs, self.calls, self.records = inner, list[Tensor](), 0, True

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's output."""
        if self.records:
            self.outputs.append(self.inner(x, lengths))
            return self.outputs[-1]
        self.calls += 1
        return self.outputs[(self.calls - 1) % len(self.outputs)]


@contextmanager
def encoded_once(model: FusedClassifier, inputs: Inputs, changing: Collection[InputName]) -> Iterator[None]:
    """All encoders but those of inputs that change see these inputs once: what they make of pictures does not depend on
    sounds."""
    from tasks.modeling.inference import predict_inputs

    owners = {model.owners[name] for name in changing}
    whole = dict(model.encoders.items())
    remembered = {other: _Remembered(cast(Encoder, encoder)) for other, encoder in whole.items() if other not in owners}
    model.encoders.update(remembered)
    try:
        predict_inputs(model, inputs)
        for each in remembered.values():
            each.records = False
        yield
    finally:
        model.encoders.update(whole)
