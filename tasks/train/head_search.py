"""Several heads trained side by side on features that are read once, each stopped early by itself; the best one is kept.

Each is trained as it would be alone, to the byte, on the same batches; which one is kept is decided by the validation rows.
Each keeps its own state, so a run that is killed resumes with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_contracts.training_history import Epoch, TrainedHead
from tasks.config import FusionConfig
from tasks.errors import DataError
from tasks.modeling.card import ModelCard
from tasks.progress import note
from tasks.train.dataset import Dataset
from tasks.train.heads import HeadCandidate
from tasks.train.processes import Processes
from tasks.train.trainer import Trainer
from tasks.train.warm_start import WarmStart


@dataclass(frozen=True)
class Chosen:
    """The head that is kept."""

    head: HeadCandidate
    card: ModelCard
    """With the head's own fusion."""
    trainer: Trainer


class HeadSearch:
    """Candidates and their data; `work` holds a folder for the state of each."""

    def __init__(
        self,
        heads: Sequence[HeadCandidate],
        card: ModelCard,
        train: Dataset,
        val: Dataset,
        processes: Processes,
        work: Path,
        start: WarmStart,
    ) -> None:
        self.found = [
            Chosen(head, own, _begin(head, own, train, val, processes, work / f"head-{number}", start))
            for number, head in enumerate(heads)
            for own in [with_fusion(card, head.config.fusion)]
        ]
        self.notes: list[str] = []
        """Of heads that were given up."""
        for each in self.found[1:]:  # embeddings lie on the device once
            each.trainer.device_loader.source = self.found[0].trainer.device_loader.source

    @property
    def epochs(self) -> int:
        """Epochs of the longest, should none end early."""
        return max(each.trainer.epochs for each in self.found)

    @property
    def best(self) -> Chosen:
        """The one with the lowest validation loss so far; of equal ones the first, so that a continued one must be better."""
        return min(self.found, key=lambda each: np.inf if (loss := _lowest(each)) is None else loss)

    def rounds(self) -> Iterator[tuple[int, Epoch]]:
        """Trains all heads that have not ended by one epoch, and so on; the number of each round, and the epoch that the
        best head so far reached its lowest loss in."""
        while running := [each for each in self.found if not each.trainer.finished]:
            number = min(each.trainer.progress.epoch for each in running) + 1
            for each in running:
                if each.trainer.progress.epoch < number:  # after a kill some are ahead
                    self._run_epoch(each)
            yield number, _best_epoch(self.best)

    def _run_epoch(self, each: Chosen) -> None:
        """A head whose loss is not finite is given up, unless it is the configured one: that it is no use is an error."""
        try:
            each.trainer.run_epoch()
        except DataError:
            if each is self.found[0]:
                raise
            self.found.remove(each)
            self.notes.append(note(f"head {each.head.name}: given up, its loss was not finite"))

    def record(self) -> tuple[TrainedHead, ...]:
        """What history.json says of each."""
        best, found = self.best, []
        for each in self.found:
            progress, epoch = each.trainer.progress, _best_epoch(each)
            figures = {name: value for name, value in (epoch.model_extra or {}).items() if value is not None}
            found.append(
                TrainedHead(
                    settings=dict(each.head.settings),
                    epochs=progress.epoch,
                    best_epoch=progress.best_epoch,
                    val_loss=epoch.val_loss,
                    figures=figures,
                    seconds=round(sum(one.seconds for one in progress.history), 3),
                    chosen=each is best,
                )
            )
        return tuple(found)

    def note(self) -> str:
        """The choice in a sentence."""
        best, configured = self.best, self.found[0]
        loss, before = _best_epoch(best).val_loss, _best_epoch(configured).val_loss
        other = note(f"; as configured {before:.4f}") if best is not configured else ""
        several = sum(not each.head.is_continued for each in self.found) > 1
        single = note("; train.heads=single trains only the configured one") if several else ""
        return note(
            f"head {best.head.name}: the lowest validation loss of {len(self.found)} heads ({loss:.4f}{other}){single}"
        )


def _begin(
    head: HeadCandidate,
    card: ModelCard,
    train: Dataset,
    val: Dataset,
    processes: Processes,
    work: Path,
    start: WarmStart,
) -> Trainer:
    """As training it alone would begin: the weights are drawn from the same state of torch's generator."""
    work.mkdir(exist_ok=True)
    with torch.random.fork_rng():
        return Trainer(card, train, val, head.config, processes, work, start if head.is_continued else None)


def with_fusion(card: ModelCard, fusion: FusionConfig) -> ModelCard:
    """The card of a model that is otherwise the same."""
    return card.model_copy(update={"config": card.config.model_copy(update={"fusion": fusion})})


def _lowest(each: Chosen) -> float | None:
    return each.trainer.progress.best_loss


def _best_epoch(each: Chosen) -> Epoch:
    """Of those trained so far; each has at least one."""
    progress = each.trainer.progress
    return progress.history[progress.best_epoch - 1]
