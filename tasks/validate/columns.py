"""The columns of inputs that are made of several: in figures, and what is suspicious about them."""

from __future__ import annotations

from data_contracts.data_profile import ColumnSummary
from data_contracts.modalities import modality_of
from data_contracts.refs import CleanRef, InputName
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.samples import Samples
from tasks.store import Store


def summarise_columns(
    samples: Samples, clean: CleanRef, store: Store
) -> tuple[dict[InputName, list[ColumnSummary]], list[str]]:
    """Every column by its input, over the samples that have the input, and notes on what is suspicious."""
    found: dict[InputName, list[ColumnSummary]] = {}
    notes: list[str] = []
    for name in clean.modalities:
        columns = spec_of(name).joined_columns()
        if columns is None or name not in clean.media:
            continue
        cells, labels = samples.digests(name), samples.labels
        digests = {cell for cell in cells if cell is not None}
        known = dict(MediaReader(store, modality_of(name), clean.media[name]).read(digests))
        rows = [(str(known[cell]), label) for cell, label in zip(cells, labels, strict=True) if cell in known]
        media, row_labels = [medium for medium, _ in rows], [label for _, label in rows]
        found[name], doubts = columns.summarise(media, clean.column_types, row_labels)
        notes += doubts
    return found, notes
