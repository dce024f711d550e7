"""What a frozen encoder is shown of some validation rows: for exporting it, for calibrating it, for comparing it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, ValidatedRef
from tasks.errors import DataError
from tasks.media.media_store import MediaReader
from tasks.modeling.batches import to_tensors
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_reading import params_of, preparer
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import Padded
from tasks.modeling.profile import choose
from tasks.samples import Samples
from tasks.store import Store

ROWS = 128
BATCH_ROWS = 32


@dataclass(frozen=True)
class Example:
    """One batch."""

    values: Tensor
    lengths: Tensor


def read_examples(
    name: InputName, spec: EncoderSpec, card: ModelCard, valid: ValidatedRef, store: Store
) -> list[Example]:
    """Batches of at most ROWS validation rows' media of an input, drawn by a hash of their ids.

    `spec` says where the encoder's files lie. DataError where no validation row has any.
    """
    samples = Samples.read(store.path(valid.uri)).of_split("val")
    have = np.array([digest is not None for digest in samples.digests(name)], bool)
    chosen = choose(samples.where(have), ROWS)
    modality = modality_of(name)
    prepare = preparer(modality, spec, params_of(modality, card.config.extract, pretrained=True))
    reader = MediaReader(store, modality, valid.clean.media[name])
    arrays = [prepare(medium, reader.rate_hz) for _, medium in reader.read(filter(None, chosen.digests(name)))]
    if not arrays:
        raise DataError(f"{name}: no validation row has any, and an encoder is exported and calibrated with them")
    return [_batch(name, arrays[start : start + BATCH_ROWS]) for start in range(0, len(arrays), BATCH_ROWS)]


def _batch(name: InputName, arrays: list[np.ndarray]) -> Example:
    lengths = np.array([len(array) for array in arrays], np.int64)
    values = np.zeros((len(arrays), int(lengths.max()), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in enumerate(arrays):
        values[row, : len(array)] = array
    part = to_tensors({name: Padded(np.arange(len(arrays)), values, lengths)}, torch.device("cpu"))[name]
    return Example(part.values, part.lengths)
