"""train.continue_from = auto: what is trained from the champion's weights beside a training from scratch, and which is kept.

Heads on frozen features cost little: the champion's is one more of those that are trained side by side. Where encoders are
trained they begin with the champion's weights in a fifth of the epochs, and then from scratch in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from data_contracts.training_history import ComparedStart
from tasks.config import RunConfig
from tasks.errors import DataError
from tasks.progress import note
from tasks.train.trainer import Trainer
from tasks.train.warm_start import WarmStart

CONTINUED_EPOCHS = 5
"""A continued training of encoders has one epoch for so many of one from scratch (benchmarks/warm_start.py)."""


class Run(Protocol):
    """A training by a config, in a folder of its own, that has ended."""

    def __call__(self, config: RunConfig, folder: Path, start: WarmStart | None, /) -> Trainer:
        """None: from scratch."""


def train_both(config: RunConfig, start: WarmStart, run: Run, work: Path) -> Trainer:
    """The better one on the validation rows of a training from the champion's weights and one from scratch; of equals that from
    scratch. A continued one that fails is no error. The record of the start says what came of it."""
    try:
        continued = run(_shortened(config), work / "continued", start)
    except DataError as error:  # its loss is not finite
        _record_failure(start, error)
        return run(config, work / "scratch", None)
    continued.release()
    scratch = run(config, work / "scratch", None)
    kept = min(scratch, continued, key=_lowest)
    record_choice(start, continued, [scratch], kept)
    return kept


def _shortened(config: RunConfig) -> RunConfig:
    """Fewer epochs, and none for a head alone, which is new no more."""
    epochs = -(-config.train.epochs // CONTINUED_EPOCHS)
    train = config.train.model_copy(update={"epochs": epochs, "head_epochs": 0})
    return config.model_copy(update={"train": train})


def record_choice(start: WarmStart, continued: Trainer, scratch: Sequence[Trainer], kept: Trainer) -> None:
    """The record of the start tells what was tried, and what came of it."""
    assert start.record is not None
    ours, theirs = _compared("champion", [continued], kept), _compared("scratch", scratch, kept)
    which = note("kept") if ours.chosen else note("not kept")
    told = note(
        f"{start.record.changes}; training from its weights reached validation loss {ours.val_loss:.4f} and was {which}, "
        f"from scratch {theirs.val_loss:.4f}"
    )
    notes = (told, *(start.record.notes if ours.chosen else ()))
    start.record = start.record.model_copy(update={"compared": (ours, theirs), "notes": notes})


def _record_failure(start: WarmStart, error: DataError) -> None:
    assert start.record is not None
    told = note(f"{start.record.changes}; from its weights: {error}; trained from scratch")
    start.record = start.record.model_copy(update={"notes": (told,)})


def _compared(start: Literal["scratch", "champion"], trainers: Sequence[Trainer], kept: Trainer) -> ComparedStart:
    best = min(trainers, key=_lowest)
    epoch = best.progress.history[best.progress.best_epoch - 1]
    figures = {name: value for name, value in (epoch.model_extra or {}).items() if value is not None}
    return ComparedStart(
        start=start,
        epochs=sum(each.progress.epoch for each in trainers),
        val_loss=epoch.val_loss,
        figures=figures,
        seconds=round(sum(one.seconds for each in trainers for one in each.progress.history), 3),
        chosen=any(each is kept for each in trainers),
    )


def _lowest(trainer: Trainer) -> float:
    loss = trainer.progress.best_loss
    return float("inf") if loss is None else loss
