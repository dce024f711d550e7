"""From numpy batches to what the model takes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from data_contracts.refs import InputName
from tasks.modalities import spec_of
from tasks.modeling.features import Padded
from tasks.modeling.fusion.classifier import Present


def to_tensors(batch: Mapping[InputName, Padded], device: torch.device) -> dict[InputName, Present]:
    """The batch on a device. The stored type says what a feature is:

    uint8: pictures (P, 3, S, S) and frames (P, N, 3, S, S) as float in [0, 1], or bytes of text (P, L) as int64.
    int32: tokens of text (P, L) as int64. int16: sound (P, T) as float in [-1, 1).
    float32: log-mel sound (P, T, M), or embeddings (P, D). A modality that no row has is left out.
    """
    return {name: _convert(name, padded, device) for name, padded in batch.items() if len(padded.rows)}


def _convert(modality: InputName, padded: Padded, device: torch.device) -> Present:
    values = spec_of(modality).to_model(torch.from_numpy(padded.values).to(device))
    rows = torch.from_numpy(padded.rows).to(device)
    return Present(rows, values, torch.from_numpy(padded.lengths).to(device))
