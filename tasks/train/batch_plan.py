"""Which rows each step takes, who takes which of them, and what is hidden from them.

All of it depends only on seed, epoch and step: a run that resumes in the middle of an epoch draws what it would have
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
from tasks.modeling.fusion.classifier import drop_modalities
from tasks.train.sampling import epoch_order


class Microbatch(NamedTuple):
    """The part of a step's rows that one process passes through the model at once."""

    rows: Index
    """(B,) positions in the dataset."""
    hidden: Tensor | None
    """(B, K) True where a modality is hidden from a row; None where nothing is."""
    share: float
    """Factor on a mean over these rows, so that the mean over all processes and microbatches is that over the step's rows."""
    shares: npt.NDArray[np.float64]
    """(K,) the same for a mean over those of the rows that have the modality; 0 where none has it."""
    somewhere: npt.NDArray[np.bool_]
    """(K,) whether any row of the step, whichever process has it, has the modality."""
    seed: int
    """For all else that is drawn at random for these rows."""
    last: bool
    """Whether the step ends with this microbatch."""


@dataclass(frozen=True)
class BatchPlan:
    """The draws of a training run."""

    present: npt.NDArray[np.bool_]
    """(N, K) whether a row has a modality."""
    config: TrainConfig
    modality_dropout: float
    seed: int
    rank: int = 0
    """Which of the processes this is."""
    processes: int = 1
    tokens: Index | None = None
    """(N,) length of each row's text; None: microbatches are cut by rows."""
    even: bool = False
    """Whether all processes take equally many microbatches, empty ones among them."""
    chances: npt.NDArray[np.float64] | None = None
    """(N,) of the rows to be drawn; None: every row once an epoch."""

    @property
    def rows_per_step(self) -> int:
        """How many rows, over all processes, enter one step of the optimizer."""
        return self.config.batch_size * self.config.gradient_accumulation_steps

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch may have fewer rows than the others."""
        return -(-len(self.present) // self.rows_per_step)

    def rows_of(self, step: int) -> int:
        """How many rows, over all processes, the step of an epoch has."""
        return min(self.rows_per_step, len(self.present) - step * self.rows_per_step)

    def order(self, epoch: int) -> Index:
        """The rows of an epoch in order."""
        return epoch_order(len(self.present), self.seed, epoch, self.chances)

    def microbatches(self, epoch: int, first_step: int = 0, oom_split: bool = False) -> Iterator[Microbatch]:
        """The microbatches of an epoch's steps from `first_step` on, for this process.

        A microbatch has `batch_size` rows over all processes, half of that with `oom_split`.
        """
        order, size = self.order(epoch), self.rows_per_step
        draws = np.random.SeedSequence([self.seed, epoch, 1]).generate_state(self.steps_per_epoch, np.uint64)
        for step in range(first_step, self.steps_per_epoch):
            rows = order[step * size : (step + 1) * size]
            yield from self._cut(rows, int(draws[step] >> 1), oom_split)

    def _cut(self, rows: Index, seed: int, oom_split: bool) -> Iterator[Microbatch]:
        """The microbatches of one step."""
        present = self.present[rows]
        counts = present.sum(axis=0)  # (K,) of the whole step
        hidden = self._hidden(present, seed)
        cuts = (
            self._by_rows(len(rows), oom_split)
            if self.tokens is None
            else self._by_tokens(self.tokens[rows], oom_split)
        )
        for number, mine in enumerate(cuts):
            share = len(mine) / len(rows) * self.processes
            shares = present[mine].sum(axis=0) / np.maximum(counts, 1) * self.processes  # 0 where it has none
            # Fewer rows than processes: one is passed through for nothing, so that the others need not wait.
            own = mine if len(mine) else np.zeros(1, np.int64)
            key = np.random.SeedSequence([seed, number, self.rank]).generate_state(1, np.uint64)[0]
            masked = None if hidden is None else hidden[torch.from_numpy(own)]
            yield Microbatch(rows[own], masked, share, shares, counts > 0, int(key >> 1), number + 1 == len(cuts))

    def _by_rows(self, size: int, oom_split: bool) -> list[Index]:
        """Positions within a step of this process's rows of each microbatch; shares differ by one row at most."""
        width = -(-self.config.batch_size // 2) if oom_split else self.config.batch_size
        cuts = []
        for start in range(0, size, width):
            count = min(width, size - start)
            first, last = (start + count * rank // self.processes for rank in (self.rank, self.rank + 1))
            cuts.append(np.arange(first, last))
        return cuts

    def _by_tokens(self, tokens: Index, oom_split: bool) -> list[Index]:
        """The same with rows of like length together; a row that is longer than the budget is a microbatch of its own."""
        budget = (self.config.max_tokens or 1) // (2 if oom_split else 1)
        order = np.argsort(tokens, kind="stable")
        cuts = _fill(order[self.rank :: self.processes], tokens, budget)
        if self.even:
            most = max(len(_fill(order[rank :: self.processes], tokens, budget)) for rank in range(self.processes))
            cuts += [np.zeros(0, np.int64)] * (most - len(cuts))
        return cuts

    def _hidden(self, present: npt.NDArray[np.bool_], seed: int) -> Tensor | None:
        """Drawn for all rows of a step at once, so that it does not matter who takes which."""
        if present.shape[1] == 1 or not self.modality_dropout:
            return None
        return drop_modalities(torch.from_numpy(present), self.modality_dropout, torch.Generator().manual_seed(seed))


def _fill(own: Index, tokens: Index, budget: int) -> list[Index]:
    """Rows sorted by length, cut into microbatches of at most `budget` tokens, padding included; one where there are none."""
    cuts, start = [], 0
    for end in range(1, len(own) + 1):
        if end == len(own) or (end + 1 - start) * tokens[own[end]] > budget:
            cuts.append(own[start:end])
            start = end
    return cuts or [own]
