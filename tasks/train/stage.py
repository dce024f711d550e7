"""The training loop: features in, the best weights out. The same seed gives the same bytes on a CPU, killed or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import deterministic

from data_contracts.training_history import HISTORY, TestTimeFlip, TrainedHead, TrainingHistory
from tasks import progress, run_log
from tasks.config import RunConfig, TrainConfig
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.package import describe_model, gather_files, save_model
from tasks.modeling.targets import targets_of_card
from tasks.shared_store import open_store
from tasks.store import canonical_json, write_text
from tasks.train.dataset import Dataset, load_dataset
from tasks.train.fitting import fit_encoders
from tasks.train.head_search import HeadSearch, with_fusion
from tasks.train.heads import continue_fusion, continued_head, heads_to_train
from tasks.train.lora import merge_lora
from tasks.train.processes import Processes
from tasks.train.request import TrainJob, read_samples
from tasks.train.start_choice import record_choice, train_both
from tasks.train.test_time_flip import FlipChoice, choose_flip
from tasks.train.throughput import device_name
from tasks.train.trainer import Trainer
from tasks.train.uncertainty import calibrate, number_groups
from tasks.train.validation import describe_validation
from tasks.train.warm_start import WarmStart, begin


def run_training(job: TrainJob, work: Path) -> None:
    """Leaves model.safetensors, model.json and history.json in `work`, going on from the state found there.

    Where several processes train, each calls this, and the first one writes. Raises DataError where a split is empty or
    the loss is not finite.
    """
    store, config = open_store(job.store), job.config
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
        kept = _fit(card, train, val, config, processes, work, start)
        trainer, card = kept.trainer, kept.card
        processes.leave()
        if processes.rank:
            return
        best = trainer.finish()
        merge_lora(best)
        groups = number_groups(start.samples.of_split("val"))
        always = any(spec.test_time_flip for spec in card.encoders.values())
        flip = FlipChoice(card, val, TestTimeFlip(used=True) if always else None)
        if config.encoders.test_time_flip == "auto":
            flip = choose_flip(card, best, val, groups, job, store)
        answers = calibrate(flip.card, best, flip.val, groups, config.train)
    save_model(best, work, answers.card, files)
    history = TrainingHistory(
        epochs=tuple(trainer.progress.history),
        best_epoch=trainer.progress.best_epoch,
        parameters=sum(parameter.numel() for parameter in best.parameters()),
        figures=trainer.meter.figures().model_copy(update={"notes": (*kept.notes, *trainer.notes(), *answers.notes)}),
        oom_split=trainer.progress.oom_split,
        **({"heads": kept.heads} if kept.heads else {}),
        **({} if start.record is None else {"start": start.record}),
        **({} if answers.thresholds is None else {"thresholds": answers.thresholds}),
        **({} if answers.scaling is None else {"temperature": answers.scaling}),
        **({} if flip.record is None else {"test_time_flip": flip.record}),
    )
    write_text(work / HISTORY, canonical_json(history.model_dump(mode="json", exclude_unset=True)))


@dataclass(frozen=True)
class _Kept:
    """The training whose weights are the model."""

    trainer: Trainer
    card: ModelCard
    heads: tuple[TrainedHead, ...] = ()
    notes: tuple[str, ...] = ()


def _fit(
    card: ModelCard,
    train: Dataset,
    val: Dataset,
    config: RunConfig,
    processes: Processes,
    work: Path,
    start: WarmStart,
) -> _Kept:
    """The configured model trained; where all encoders are frozen, the best on the validation rows of several heads. Under
    train.continue_from = auto both from the champion's weights and from scratch, see tasks/train/start_choice.py."""
    compares = config.train.continue_from == "auto" and start.champion is not None
    heads, why = heads_to_train(config, card.encoders, start.champion is not None and not compares)
    embedded = all(spec.reads == "embedding" for spec in card.encoders.values())
    if why is None or (compares and embedded and processes.count == 1):
        if compares and start.champion is not None:
            continued = continued_head(heads, read_card(start.champion).config.fusion)
            heads += [] if continued is None else [continued]
        return _search(HeadSearch(heads, card, train, val, processes, work, start), processes, start)
    if why and embedded:  # else several heads are never trained, and nothing is missed
        config = continue_fusion(config, start.champion)
        card = with_fusion(card, config.fusion)
    elif why and processes.rank == 0:
        progress.log(f"train: {why}")

    def run(config: RunConfig, folder: Path, start: WarmStart | None) -> Trainer:
        """As it would be alone: the weights are drawn from the same state of torch's generator."""
        folder.mkdir(exist_ok=True)
        with torch.random.fork_rng():
            return _run(Trainer(card, train, val, config, processes, folder, start), processes)

    trainer = train_both(config, start, run, work) if compares else run(config, work, start)
    return _Kept(trainer, card, notes=(why,) if why and embedded else ())


def _run(trainer: Trainer, processes: Processes) -> Trainer:
    """The trainer, its training ended; listeners hear of every epoch."""
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
        run_log.log_training_ends(trainer.progress.epoch, trainer.epochs, trainer.config.early_stopping_patience)
    return trainer


def _search(search: HeadSearch, processes: Processes, start: WarmStart) -> _Kept:
    """All heads trained, and the best of them; listeners hear of the best so far once a round."""
    run_log.log_heads_begin(device_name(processes.device), len(search.found), search.epochs)
    for number, entry in search.rounds():
        heard = entry.model_copy(update={"epoch": number})
        progress.report("train", number, search.epochs, describe_validation(heard))
        run_log.log_epoch(heard, search.epochs)
        progress.report_epochs([heard])
    progress.log(f"train: {search.note()}", "notice")
    continued = [each.trainer for each in search.found if each.head.is_continued]
    if continued:
        scratch = [each.trainer for each in search.found if not each.head.is_continued]
        record_choice(start, continued[0], scratch, search.best.trainer)
    return _Kept(search.best.trainer, search.best.card, search.record(), tuple(search.notes))


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
        _use_deterministic(config.device == "cpu" or not torch.cuda.is_available(), config.compile)
        # Else every new tensor is filled with NaN before its first use, in case something reads what was never written.
        library.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            _use_deterministic(strict, config.compile)
            library.fill_uninitialized_memory = filled


def _use_deterministic(wanted: bool, compiles: bool) -> None:
    """As torch.use_deterministic_algorithms, which also tells torch.compile, and takes a second to import it."""
    if compiles:
        torch.use_deterministic_algorithms(wanted)
    else:
        torch.set_deterministic_debug_mode("error" if wanted else "default")
