"""Which rows each step takes, who takes which of them, and what is hidden from them.

All of it depends on seed, epoch and step alone: a run that goes on in the middle of an epoch draws what it would have
drawn, and so do two processes that share the batches of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.config import TrainConfig
from tasks.modeling.features import Index
from tasks.modeling.fusion import drop_modalities


class Piece(NamedTuple):
    """The part of a step's rows that one process passes through the model at once."""

    rows: Index
    """(B,) positions in the dataset."""
    hidden: Tensor | None
    """(B, K) True where a modality is hidden from a row; None where nothing is."""
    share: float
    """Factor on a mean over these rows, so that the mean over all processes and pieces is that over the step's rows."""
    shares: npt.NDArray[np.float64]
    """(K,) the same for a mean over those of the rows that have the modality; 0 where none has it."""
    seed: int
    """For all else that is drawn at random for these rows."""
    last: bool
    """Whether the step ends with this piece."""


@dataclass(frozen=True)
class Drawing:
    """The draws of a training run."""

    present: npt.NDArray[np.bool_]
    """(N, K) whether a row has a modality."""
    config: TrainConfig
    modality_dropout: float
    seed: int
    rank: int = 0
    """Which of the processes this is."""
    processes: int = 1

    @property
    def rows_per_step(self) -> int:
        """How many rows, over all processes, enter one step of the optimizer."""
        return self.config.batch_size * self.config.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch may have fewer rows than the others."""
        return -(-len(self.present) // self.rows_per_step)

    def rows_of(self, step: int) -> int:
        """How many rows, over all processes, the step of an epoch has."""
        return min(self.rows_per_step, len(self.present) - step * self.rows_per_step)

    def order(self, epoch: int) -> Index:
        """The rows of an epoch in order."""
        return np.random.default_rng([self.seed, epoch, 2]).permutation(len(self.present))

    def pieces(self, epoch: int, first_step: int = 0, halved: bool = False) -> Iterator[Piece]:
        """The pieces of an epoch's steps from `first_step` on, for this process.

        A piece has `batch_size` rows over all processes, half of that with `halved`.
        """
        order, size = self.order(epoch), self.rows_per_step
        draws = np.random.SeedSequence([self.seed, epoch, 1]).generate_state(self.steps_per_epoch, np.uint64)
        for step in range(first_step, self.steps_per_epoch):
            rows = order[step * size : (step + 1) * size]
            yield from self._cut(rows, int(draws[step] >> 1), halved)

    def _cut(self, rows: Index, seed: int, halved: bool) -> Iterator[Piece]:
        """The pieces of one step."""
        present = self.present[rows]
        counts = present.sum(axis=0)  # (K,) of the whole step
        hidden = self._hidden(present, seed)
        width = -(-self.config.batch_size // 2) if halved else self.config.batch_size
        for start in range(0, len(rows), width):
            end = min(start + width, len(rows))
            own = self._own(start, end)
            share = (own.stop - own.start) / len(rows) * self.processes
            mine = present[own].sum(axis=0)
            shares = mine / np.maximum(counts, 1) * self.processes
            if (
                own.stop == own.start
            ):  # fewer rows than processes: one is passed through for nothing, so that none waits
                own = slice(start, start + 1)
                share, shares = 0.0, np.zeros(len(counts))
            key = np.random.SeedSequence([seed, start, self.rank]).generate_state(1, np.uint64)[0]
            yield Piece(
                rows[own], None if hidden is None else hidden[own], share, shares, int(key >> 1), end == len(rows)
            )

    def _own(self, start: int, end: int) -> slice:
        """This process's rows among those from `start` to `end`: shares differ by one row at most."""
        size = end - start
        return slice(
            start + size * self.rank // self.processes,
            start + size * (self.rank + 1) // self.processes,
        )

    def _hidden(self, present: npt.NDArray[np.bool_], seed: int) -> Tensor | None:
        """Drawn for all rows of a step at once, so that it does not matter who takes which."""
        if present.shape[1] == 1 or not self.modality_dropout:
            return None
        return drop_modalities(torch.from_numpy(present), self.modality_dropout, torch.Generator().manual_seed(seed))
