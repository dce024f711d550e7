"""The contrastive loss: modalities of one sample, or of samples with one answer, are drawn together, others apart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from data_contracts.refs import InputName

TEMPERATURE = 0.1
"""Fixed, at the best value of Khosla et al. (Supervised Contrastive Learning, 2020). A learned one (CLIP) pays with batches of
thousands; with 64 rows it shrinks until single pairs decide."""


def contrastive_loss(
    vectors: Mapping[InputName, Tensor], rows: Mapping[InputName, Tensor], labels: Tensor | None = None
) -> Tensor:
    """A scalar: symmetric InfoNCE (van den Oord et al., 2018), the mean over all pairs of modalities in the batch.

    `vectors` are (P, W), `rows` their (P,) positions in the batch. With `labels` (B,), all samples of a label are each
    other's positives: as negatives, they would drive apart what the head must join. Without, only a sample's own other
    modality is. What has no positive in the other modality is no anchor; without any anchor the loss is 0.
    """
    names = sorted(vectors)
    first = next(iter(vectors.values()), torch.zeros(0))
    total, pairs = torch.zeros((), device=first.device), 0
    for one, other in itertools.combinations(names, 2):
        sides = functional.normalize(vectors[one].float(), dim=1), functional.normalize(vectors[other].float(), dim=1)
        similar = sides[0] @ sides[1].T / TEMPERATURE  # (P, Q)
        positive = _keys(rows[one], labels)[:, None] == _keys(rows[other], labels)[None, :]
        total = total + (_contrast(similar, positive) + _contrast(similar.T, positive.T)) / 2
        pairs += 1
    return total / max(pairs, 1)


def _keys(rows: Tensor, labels: Tensor | None) -> Tensor:
    """What two rows must have in common to be positives."""
    return rows if labels is None else labels[rows]


def _contrast(similar: Tensor, positive: Tensor) -> Tensor:
    """The mean over anchors of the mean over their positives of -log softmax; (P, Q), (P, Q) -> scalar."""
    if not similar.numel():
        return similar.sum()
    surprise = -similar.log_softmax(dim=1)
    count = positive.sum(dim=1)
    each = (surprise * positive).sum(dim=1) / count.clamp(min=1)
    return each.sum() / (count > 0).sum().clamp(min=1)
