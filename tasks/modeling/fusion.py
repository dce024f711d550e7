"""The fused classifier: encoders, projections to one width, a presence mask, learned embeddings for what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from data_contracts.refs import Modality
from tasks.config import FusionConfig
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.encoders import build_encoder


class Present(NamedTuple):
    """One modality of a batch: only the rows that have it."""

    rows: Tensor
    """(P,) positions in the batch."""
    values: Tensor
    """image (P, 3, S, S) and video (P, N, 3, S, S) float in [0, 1]; audio (P, T, M) float; text (P, L) int64."""
    lengths: Tensor
    """(P,) frames of sound or video, or bytes."""


class Output(NamedTuple):
    """What a forward pass gives."""

    logits: Tensor
    """(B, C)"""
    auxiliary: dict[Modality, Tensor]
    """Modality to (P, C) logits from that modality alone, rows as in `Present.rows`; empty outside training."""
    vectors: dict[Modality, Tensor]
    """Modality to (P, width) projected vectors, for the alignment loss; empty outside training."""


class FusedClassifier(nn.Module):
    """Predicts from any non-empty or even empty subset of its modalities."""

    def __init__(self, encoders: Mapping[Modality, EncoderSpec], outputs: int, config: FusionConfig) -> None:
        super().__init__()
        self.modalities: tuple[Modality, ...] = tuple(encoders)
        self.specs = dict(encoders)
        self.width, self.outputs = config.width, outputs
        built = {name: build_encoder(name, spec) for name, spec in encoders.items()}
        self.encoders = nn.ModuleDict(dict(built.items()))
        self.projections = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(e.width, config.width), nn.LayerNorm(config.width))
                for name, e in built.items()
            }
        )
        self.missing = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(config.width) * 0.02) for name in self.modalities}
        )
        self.auxiliary = nn.ModuleDict({name: nn.Linear(config.width, outputs) for name in self.modalities})
        self.shared = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(len(self.modalities) * (config.width + 1), config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
        )
        self.head = nn.Linear(config.hidden, outputs)

    def forward(self, batch: Mapping[Modality, Present], size: int, hidden: Tensor | None = None) -> Output:
        """A batch of `size` = B rows -> logits (B, C).

        `hidden` (B, modalities), True where a modality that is there must not reach the fused head. A modality that is
        absent from `batch`, or from a row, is replaced by its learned embedding.
        """
        joined, present, auxiliary, projected = [], [], {}, {}
        for column, name in enumerate(self.modalities):
            vectors = self.missing[name].expand(size, self.width)
            seen = torch.zeros(size, 1, device=vectors.device)
            part = batch.get(name)
            if part is not None and part.rows.numel():
                encoded = self.projections[name](self.encoders[name](part.values, part.lengths))
                if self.training:
                    auxiliary[name], projected[name] = self.auxiliary[name](encoded), encoded
                seen = seen.index_fill(0, part.rows, 1.0)
                if hidden is not None:
                    seen = seen.masked_fill(hidden[:, column : column + 1], 0.0)
                full = torch.zeros_like(vectors, dtype=encoded.dtype).index_copy(0, part.rows, encoded)
                vectors = torch.where(seen > 0, full, vectors.to(encoded.dtype))
            joined.append(vectors)
            present.append(seen)
        logits = self.head(self.shared(torch.cat([*joined, *present], dim=1)))
        return Output(logits, auxiliary, projected)


def drop_modalities(present: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """(B, K) True where a modality is hidden from a row in this step; of those present, one always stays.

    `present` is (B, K), True where the row has the modality. (Neverova et al., ModDrop, 2015.)
    """
    draws = torch.rand(present.shape, generator=generator)
    kept = present & (draws >= chance)
    spared = torch.where(present, draws, -1.0).argmax(dim=1, keepdim=True)  # the one nearest to being kept
    kept = kept.scatter(1, spared, True) & present
    return present & ~kept
