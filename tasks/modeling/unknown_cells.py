"""What a model meets in new rows that it was not fitted to: categories that it has not seen, cells that are no numbers."""

from __future__ import annotations

from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.modeling.card import ModelCard
from tasks.samples import Samples
from tasks.store import Store


def describe_unknown(card: ModelCard, samples: Samples, clean: CleanRef, store: Store) -> list[str]:
    """A line for every column of the samples in which there is something that the model of this card does not know."""
    notes: list[str] = []
    for name in card.modalities:
        columns = spec_of(name).joined_columns()
        if columns is None or name not in clean.media:
            continue
        cells = [digest for digest in samples.digests(name) if digest is not None]
        known = dict(MediaReader(store, modality_of(name), clean.media[name]).read(cells))
        media = [str(known[cell]) for cell in cells if cell in known]
        notes += columns.describe_unknown(media, card.encoders[name])
    return notes
