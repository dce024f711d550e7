"""A small GRU on one raw modality: bytes of text, or log-mel frames of sound. The same seed gives the same answers on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from data_contracts.refs import Modality
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.problems.metric import Indices

HIDDEN, EMBED = 64, 32
MAX_STEPS = 256
"""Bytes or frames that it reads of a row: a GRU takes them one after the other."""
BYTES = 256
LEARNING_RATE = 3e-3
Sequences = Sequence[NDArray[np.generic] | None]


@dataclass(frozen=True)
class RawRows:
    """Rows of one split: the sequence of each, None where it is missing."""

    sequences: Sequences
    truth: Indices
    """(N,) positions in the labels."""
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class FittedGru:
    """Its answers to the test rows."""

    outputs: NDArray[np.float32]
    """(T, C)"""
    parameters: int
    best_epoch: int
    notes: tuple[str, ...]


class GruClassifier(nn.Module):
    """The mean of a GRU's states over the steps that exist, and a linear layer."""

    def __init__(self, width: int | None, classes: int) -> None:
        super().__init__()
        self.inner = () if width is None else (width,)
        self.embed = nn.Embedding(BYTES, EMBED) if width is None else nn.LayerNorm(width)
        self.gru = nn.GRU(EMBED if width is None else width, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, classes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) bytes or (B, L, M) frames, zeros beyond (B,) lengths -> (B, C) logits."""
        states, _ = self.gru(self.embed(x))
        there = (torch.arange(x.shape[1])[None] < lengths[:, None]).unsqueeze(2)
        return self.head((states * there).sum(dim=1) / lengths.clamp(min=1)[:, None])  # type: ignore[no-any-return]


def fit_gru(
    train: RawRows, val: RawRows, test: Sequences, modality: Modality, classes: int, config: RunConfig
) -> FittedGru:
    """Trained for train.epochs epochs by AdamW; the epoch with the lowest validation loss answers the test rows.

    Raises DataError where no train row has the modality.
    """
    shapes = [sequence.shape[1:] for sequence in train.sequences if sequence is not None]
    if not shapes:
        raise DataError(f"gru-{modality}: no train row has {modality}; leave this variant out")
    with _reproducible(config):
        generator = np.random.default_rng([config.seed, 7])
        model = GruClassifier(shapes[0][0] if shapes[0] else None, classes)
        optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=config.train.weight_decay)
        size, lowest, best_epoch = config.train.batch_size, math.inf, 0
        best = {name: value.clone() for name, value in model.state_dict().items()}
        for epoch in range(1, config.train.epochs + 1):
            model.train()
            order = generator.permutation(len(train.truth))
            for start in range(0, len(order), size):
                loss = _loss(model, train, order[start : start + size])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), config.train.max_grad_norm)
                optimizer.step()
            model.eval()
            with torch.inference_mode():
                loss_val = float(_loss(model, val, np.arange(len(val.truth))))
            if loss_val < lowest:
                lowest, best_epoch = loss_val, epoch
                best = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(best)
        with torch.inference_mode():
            outputs = _logits(model, test, np.arange(len(test))).softmax(dim=1).numpy()
    cut = sum(sequence is not None and len(sequence) > MAX_STEPS for sequence in train.sequences)
    notes = (f"{cut:,} train rows are cut after {MAX_STEPS} steps",) if cut else ()
    return FittedGru(outputs, sum(parameter.numel() for parameter in model.parameters()), best_epoch, notes)


def _loss(model: GruClassifier, rows: RawRows, chosen: Indices) -> Tensor:
    weights = torch.from_numpy(rows.weights[chosen]).float()
    each = functional.cross_entropy(
        _logits(model, rows.sequences, chosen), torch.from_numpy(rows.truth[chosen]), reduction="none"
    )
    return (each * weights).sum() / weights.sum()


def _logits(model: GruClassifier, sequences: Sequences, chosen: Indices, batch: int = 256) -> Tensor:
    found = []
    for start in range(0, len(chosen), batch):
        part = [sequences[row] for row in chosen[start : start + batch]]
        found.append(model(*_padded(part, model.inner)))
    return torch.cat(found)


def _padded(part: Sequences, inner: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(B, L, *inner) with zeros beyond (B,) lengths; a row that is missing has length 0."""
    lengths = [0 if sequence is None else min(len(sequence), MAX_STEPS) for sequence in part]
    kind = np.float32 if inner else np.int64
    values = np.zeros((len(part), max(1, *lengths), *inner), kind)
    for row, (sequence, length) in enumerate(zip(part, lengths, strict=True)):
        if sequence is not None:
            values[row, :length] = sequence[:length]
    return torch.from_numpy(values), torch.tensor(lengths)


@contextmanager
def _reproducible(config: RunConfig) -> Iterator[None]:
    """The seed and a fixed number of threads; as before afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.train.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
