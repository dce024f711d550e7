"""The training loop: features in, the best weights out. The same seed gives the same bytes on a CPU, killed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import deterministic

from data_contracts.training_history import HISTORY, TrainingHistory
from tasks import progress, run_log
from tasks.config import TrainConfig
from tasks.modeling.package import describe_model, gather_files, save_model
from tasks.modeling.targets import targets_of_card
from tasks.store import Store, canonical_json, write_text
from tasks.train.dataset import load_dataset
from tasks.train.fitting import fit_encoders
from tasks.train.lora import merge_lora
from tasks.train.processes import Processes
from tasks.train.request import TrainJob, read_samples
from tasks.train.throughput import device_name
from tasks.train.trainer import Trainer
from tasks.train.uncertainty import calibrate, number_groups
from tasks.train.validation import describe_validation
from tasks.train.warm_start import begin


def run_training(job: TrainJob, work: Path) -> None:
    """Leaves model.safetensors, model.json and history.json in `work`, going on from the state found there.

    Where several processes train, each calls this, and the first one writes. Raises DataError where a split is empty or
    the loss is not finite.
    """
    store, config = Store(job.store), job.config
    start = begin(job.champion, read_samples(job.valid, store), config, store)
    card = describe_model(job.valid, job.features, config)
    files = gather_files(card)  # now: hours later they may be gone
    seen = start.samples.of_split("train")
    targets = targets_of_card(card).fit(seen)
    card = fit_encoders(card, seen, job, store)
    card = card.with_targets(targets.columns)
    train = load_dataset(start.samples, "train", job, targets, store)
    val = load_dataset(start.samples, "val", job, targets, store)
    with reproducible(config.seed, config.train):
        processes = Processes(config.train)
        trainer = Trainer(card, train, val, config, processes, work, start)
        if processes.rank == 0:
            names, done = [stage.name for stage in trainer.stages], trainer.progress.epoch
            run_log.log_training_begins(device_name(processes.device), processes.count, names, trainer.epochs, done)
            progress.report_epochs(trainer.progress.history)
        while not trainer.finished:
            entry = trainer.run_epoch()
            if processes.rank == 0:
                progress.report("train", entry.epoch, trainer.epochs, describe_validation(entry))
                run_log.log_epoch(entry, trainer.epochs)
                progress.report_epochs([entry])
        if processes.rank == 0:
            run_log.log_training_ends(trainer.progress.epoch, trainer.epochs, config.train.early_stopping_patience)
        processes.leave()
        if processes.rank:
            return
        best = trainer.finish()
        merge_lora(best)
        groups = number_groups(start.samples.of_split("val"))
        answers = calibrate(card, best, val, groups, config.train)
    save_model(best, work, answers.card, files)
    history = TrainingHistory(
        epochs=tuple(trainer.progress.history),
        best_epoch=trainer.progress.best_epoch,
        parameters=sum(parameter.numel() for parameter in best.parameters()),
        figures=trainer.meter.figures().model_copy(update={"notes": (*trainer.notes(), *answers.notes)}),
        oom_split=trainer.progress.oom_split,
        **({} if start.record is None else {"start": start.record}),
        **({} if answers.thresholds is None else {"thresholds": answers.thresholds}),
        **({} if answers.scaling is None else {"temperature": answers.scaling}),
    )
    write_text(work / HISTORY, canonical_json(history.model_dump(mode="json", exclude_unset=True)))


@contextmanager
def reproducible(seed: int, config: TrainConfig) -> Iterator[None]:
    """The seed, a fixed number of threads, and deterministic kernels where a CPU trains; all as before afterwards.

    On a GPU the fastest kernels are taken instead, whose sums may come in another order from run to run.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    library: Any = deterministic  # a module whose attributes mypy does not see
    filled = library.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence([seed, 0, 3]).generate_state(1, np.uint64)[0] >> 1))
        torch.set_num_threads(config.threads)
        torch.use_deterministic_algorithms(config.device == "cpu" or not torch.cuda.is_available())
        # Else every new tensor is filled with NaN before its first use, in case something reads what was never written.
        library.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
            library.fill_uninitialized_memory = filled
