"""From numpy batches to what the model takes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from data_contracts.refs import Modality
from tasks.modeling.features import Padded
from tasks.modeling.fusion import Present


def to_tensors(batch: Mapping[Modality, Padded], device: torch.device) -> dict[Modality, Present]:
    """The batch on a device: pictures (P, 3, S, S) and frames (P, N, 3, S, S) in [0, 1], sound (P, T, M), text (P, L) int64.

    A modality that no row has is left out.
    """
    return {name: _convert(name, padded, device) for name, padded in batch.items() if len(padded.rows)}


def _convert(modality: Modality, padded: Padded, device: torch.device) -> Present:
    values = torch.from_numpy(padded.values).to(device)
    if modality == "image":
        values = values.permute(0, 3, 1, 2).float().div(255.0).contiguous()
    elif modality == "video":
        values = values.permute(0, 1, 4, 2, 3).float().div(255.0).contiguous()
    elif modality == "text":
        values = values.long()
    else:
        values = values.float()
    rows = torch.from_numpy(padded.rows).to(device)
    return Present(rows, values, torch.from_numpy(padded.lengths).to(device))
