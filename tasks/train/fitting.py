"""Encoders that are fitted to the train rows before the network is built: those of inputs made of several columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from data_contracts.modalities import modality_of
from tasks.errors import EnvironmentFailed
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.store import Store
from tasks.train.request import TrainJob


def fit_encoders(encoders: dict[str, Any], samples: pa.Table, job: TrainJob, store: Store) -> dict[str, Any]:
    """The card's encoders, those of several columns fitted to `samples`, the train rows and no others.

    Raises EnvironmentFailed where a medium is not in the store any more.
    """
    fitted = dict(encoders)
    clean = job.valid.clean
    for name, described in encoders.items():
        columns, spec = spec_of(name).joined_columns(), EncoderSpec.model_validate(described)
        if columns is None or spec.reads == "embedding":
            continue
        cells = samples[name].drop_null().to_pylist()
        known = dict(MediaReader(store, modality_of(name), clean.media[name]).read(cells))
        lost = [cell for cell in cells if cell not in known]
        if lost:
            raise EnvironmentFailed(f"{name}: {len(lost)} of {len(cells)} rows are not in the store; run ingest again")
        media = [str(known[cell]) for cell in cells]
        fitted[name] = columns.fit(spec, media, clean.column_types).model_dump(mode="json")
    return fitted
