"""Encoders that are fitted to the train rows: those of inputs made of several columns before the network is built, what scales
classical features before it is trained."""

from __future__ import annotations

import torch

from data_contracts.modalities import modality_of
from tasks.errors import EnvironmentFailed
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_base import Standardised
from tasks.modeling.features import Inputs
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.samples import Samples
from tasks.store import Store
from tasks.train.request import TrainJob


def fit_encoders(card: ModelCard, samples: Samples, job: TrainJob, store: Store) -> ModelCard:
    """The card with the encoders of several columns fitted to `samples`, the train rows and no others.

    Raises EnvironmentFailed where a medium is not in the store any more.
    """
    fitted = dict(card.encoders)
    clean = job.valid.clean
    for name, spec in card.encoders.items():
        columns = spec_of(name).joined_columns()
        if columns is None or spec.reads == "embedding":
            continue
        cells = [digest for digest in samples.digests(name) if digest is not None]
        known = dict(MediaReader(store, modality_of(name), clean.media[name]).read(cells))
        lost = [cell for cell in cells if cell not in known]
        if lost:
            raise EnvironmentFailed(f"{name}: {len(lost)} of {len(cells)} rows are not in the store; run ingest again")
        fitted[name] = columns.fit(spec, [str(known[cell]) for cell in cells], clean.column_types)
    return card.model_copy(update={"encoders": fitted})


def fit_standardised(model: FusedClassifier, train: Inputs) -> None:
    """What scales classical features knows the mean and the deviation of the train rows that have them."""
    for name, encoder in model.encoders.items():
        places = train.places[name]
        if isinstance(encoder, Standardised) and (places >= 0).any():
            table = train.tables[name].take(places[places >= 0])
            encoder.fit(torch.from_numpy(table.values.reshape(len(table.rows), -1)))
