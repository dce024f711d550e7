"""One training run: stages, epochs, steps. All that outlasts a step can be written to the state."""

from __future__ import annotations

import copy
import gc
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_contracts.training_history import Epoch, OutOfMemory
from tasks.config import RunConfig
from tasks.errors import DataError, EnvironmentFailed
from tasks.modeling.card import ModelCard
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.package import build_model
from tasks.modeling.pretrained.weights import load_pretrained
from tasks.progress import note
from tasks.train.batch_plan import BatchPlan
from tasks.train.checkpointing import CheckpointSchedule
from tasks.train.dataloader import DeviceLoader, TrainBatch
from tasks.train.dataset import Dataset
from tasks.train.finetuning import Stage, stages_of
from tasks.train.fitting import fit_standardised
from tasks.train.lora import add_lora
from tasks.train.losses import class_weights
from tasks.train.processes import Processes, whole
from tasks.train.sampling import row_chances
from tasks.train.standardization import fold, moments_of, standardize, unfold
from tasks.train.state import Progress, TrainState, Weights, read_fixed, read_state, save_fixed
from tasks.train.step import StagePlan, TrainingStep, trainable_names
from tasks.train.throughput import ThroughputMeter, count_flops
from tasks.train.validation import validate
from tasks.train.warm_start import WarmStart, transfer_weights

LOG_STEPS = 50  # the loss is looked at once in so many steps: on a GPU each look empties its queue of work


class Trainer:
    """A model and its data; `work` holds the state that it resumes from."""

    def __init__(
        self,
        card: ModelCard,
        train: Dataset,
        val: Dataset,
        config: RunConfig,
        processes: Processes,
        work: Path,
        start: WarmStart | None = None,
    ) -> None:
        self.val, self.config, self.processes = val, config.train, processes
        self.batch_plan = BatchPlan(
            train.present,
            config.train,
            config.fusion.modality_dropout,
            config.seed,
            processes.rank,
            processes.count,
            tokens=train.text_lengths() if config.train.max_tokens else None,
            even=processes.divides,
            chances=row_chances(train.targets) if config.train.class_balance == "sampler" else None,
        )
        balanced = config.train.class_balance != "none"  # rows drawn evenly are validated evenly, too
        self.balance = class_weights(train.targets).to(processes.device) if balanced else None
        self.checkpoint_schedule = CheckpointSchedule(
            work, config.train.checkpoint_steps, processes.divides, processes.rank == 0
        )
        plain = build_model(card).to(processes.home)
        self.stages = stages_of(config.train, plain.specs)
        embedded = all(spec.reads == "embedding" for spec in plain.specs.values())
        self.moments = moments_of(train.inputs) if config.train.standardize and embedded else {}
        standardize(plain, self.moments)
        kept = self._restore(plain, card, train, work, start)
        self.ema_model = copy.deepcopy(plain)
        self.best: Weights = kept.best if kept else self._copy_trainable()
        self.progress = kept.progress if kept else Progress()
        self.meter = ThroughputMeter(self.progress.figures, processes.device, processes.count)
        self.device_loader = DeviceLoader(train, plain.specs, config.train, processes.device, processes.divides)
        if not self.finished:
            self.training_step = self._set_up(plain)
            if kept:
                self.training_step.restore(kept.optimizer, kept.ema_weights)

    def _restore(
        self, plain: FusedClassifier, card: ModelCard, train: Dataset, work: Path, start: WarmStart | None
    ) -> TrainState | None:
        """The weights as an earlier run left them, else as training begins; what never moves is written once."""
        kept, fixed = read_state(work), read_fixed(work)
        if kept is None or fixed is None:
            load_pretrained(plain, card)  # before layers are renamed by the updates
            fit_standardised(plain, train.inputs)
        if start is not None:  # also where a kept state replaces it: its message belongs to the history
            unfold(plain, self.moments, transfer_weights(plain, card, start).whole)
        if self.config.regime == "lora":
            add_lora(plain, self.config)
        self.trainable = trainable_names(plain, self.config)
        if kept is not None and fixed is not None:
            plain.load_state_dict(fixed | kept.model)
            return kept
        if self.checkpoint_schedule.writes:
            save_fixed({name: t for name, t in plain.state_dict().items() if name not in self.trainable}, work)
        return None

    def _set_up(self, plain: FusedClassifier) -> TrainingStep:
        self.flops_each: float | None = None  # of a sample, in this stage
        per_epoch = self.batch_plan.steps_per_epoch
        plan = StagePlan(
            self.stage,
            self.trainable,
            steps=self.stage.epochs * per_epoch,
            done=self.progress.stage_epochs * per_epoch + self.progress.step,
            balance=self.balance if self.config.class_balance == "class-weights" else None,
        )
        return TrainingStep(plain, self.config, self.processes, plan)

    @property
    def finished(self) -> bool:
        """True after the last epoch of the last stage, or when `early_stopping_patience` ended it."""
        return self.progress.stage >= len(self.stages)

    @property
    def epochs(self) -> int:
        """Epochs of all stages, should none end early."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def stage(self) -> Stage:
        """The stage under way."""
        return self.stages[self.progress.stage]

    def gather(self) -> TrainState:
        """The state as it is now; where weights are divided, all processes must call this, and the first one has it whole."""
        training_step, collect = self.training_step, self.processes.collect
        return TrainState(
            {name: collect(tensor) for name, tensor in training_step.current.items()},
            training_step.optimizer_tensors(),
            {name: collect(tensor) for name, tensor in training_step.ema_weights.items()}
            if self.config.ema_decay
            else {},
            self.best,
            self.progress,
        )

    def run_epoch(self) -> Epoch:
        """Trains one epoch, validates the averaged weights, writes the state when due; returns the epoch's history."""
        progress = self.progress
        self._run_steps()
        loss, figures = self._validate()
        progress.epoch += 1
        progress.stage_epochs += 1
        progress.stale += 1
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_epoch, progress.stale = loss, progress.epoch, 0
            self.best = self._copy_trainable()
        entry = Epoch(
            epoch=progress.epoch,
            stage=self.stage.name,
            train_loss=float(np.mean(self.processes.mean(progress.losses))),
            val_loss=loss,
            learning_rate=self.training_step.learning_rate,
            grad_norm=float(np.mean(progress.norms)),
            seconds=round(progress.seconds, 3),
            **figures,
        )
        progress.history.append(entry)
        progress.losses, progress.norms, progress.seconds, progress.step = [], [], 0.0, 0
        if progress.stage_epochs >= self.stage.epochs or progress.stale >= self.config.early_stopping_patience:
            self._leave_stage()
        if not self.finished and self.checkpoint_schedule.due_after_epoch():
            self.checkpoint_schedule.keep(self.gather)
        return entry

    def _validate(self) -> tuple[float, dict[str, float]]:
        """Validation loss and figures of the averaged weights; DataError where the loss is not finite."""
        own = self.ema_model.state_dict()
        for name, tensor in self.training_step.ema_weights.items():
            own[name].copy_(whole(tensor))
        self.ema_model.to(self.processes.device)
        self.processes.copy_from_first(list(self.ema_model.buffers()))  # each has seen other rows
        loss, figures = validate(self.ema_model, self.val, self.config, self.processes, self.balance)
        self.ema_model.to(self.processes.home)
        if not np.isfinite(loss):
            epoch = self.progress.epoch + 1
            raise DataError(f"training: the validation loss is {loss} in epoch {epoch}; lower train.learning_rate")
        return loss, figures

    def _leave_stage(self) -> None:
        """The next stage begins with the best weights so far."""
        self.progress.stage, self.progress.stage_epochs, self.progress.stale = self.progress.stage + 1, 0, 0
        if self.finished:
            return
        # A divided model cannot be divided again in another way.
        plain = copy.deepcopy(self.ema_model) if self.processes.divides else self.training_step.plain
        plain.load_state_dict(self.best, strict=False)
        self.training_step = self._set_up(plain)

    def release(self) -> None:
        """What only further epochs would need takes no memory any more: another model is trained before `finish`."""
        self.__dict__.pop("training_step", None)  # not there where a run that had ended was restored
        self.ema_model.to("cpu")

    def finish(self) -> FusedClassifier:
        """The model with the best weights, whole, and what they were trained on folded into them; call it once."""
        self.ema_model.load_state_dict(self.best, strict=False)
        fold(self.ema_model, self.moments)
        return self.ema_model.to(self.processes.device)

    def _copy_trainable(self) -> Weights:
        """Copies of what is trained, as it was validated."""
        return {name: t.detach().clone() for name, t in self.ema_model.state_dict().items() if name in self.trainable}

    # -- steps ---

    def _run_steps(self) -> None:
        """The steps of this epoch that are not done yet."""
        progress, per_epoch = self.progress, self.batch_plan.steps_per_epoch
        self.training_step.enter_training()
        self._start_timer()
        feed = self._feed(progress.step)
        seen: list[tuple[Tensor, Tensor]] = []
        for step in range(progress.step, per_epoch):
            loss = self._accumulate(feed)
            if loss is None:
                feed.close()
                self._split_batches_on_oom(step)
                feed = self._feed(step)
                loss = self._accumulate(feed)
                if loss is None:
                    raise EnvironmentFailed(self._too_large())
            rows = self.batch_plan.rows_of(step)
            self.meter.add(samples=rows, flops=rows * (self.flops_each or 0.0))
            seen.append((loss, self.training_step.update()))
            due = step + 1 < per_epoch and self.checkpoint_schedule.due_within(progress.epoch * per_epoch + step + 1)
            if due or step + 1 == per_epoch or len(seen) == LOG_STEPS:
                self._log_steps(step + 1, seen)
                seen = []
            if due:
                self.checkpoint_schedule.keep(self.gather)
                self._start_timer()
        feed.close()

    def _feed(self, step: int) -> Generator[TrainBatch, None, None]:
        """What is read from this step of the epoch on."""
        return self.device_loader.feed(
            self.batch_plan.microbatches(self.progress.epoch + 1, step, self.progress.oom_split is not None)
        )

    def _accumulate(self, feed: Generator[TrainBatch, None, None]) -> Tensor | None:
        """The loss of a step whose gradients are there; None, and no gradients, where the GPU's memory did not suffice."""
        training_step = self.training_step
        found: tuple[Tensor, int] | None = None
        try:
            if self.flops_each is None and self.processes.device.type == "cuda":
                flops, (total, rows) = count_flops(lambda: training_step.accumulate(feed))
                found, self.flops_each = (total, rows), flops / rows
            else:
                found = training_step.accumulate(feed)
        except torch.OutOfMemoryError:
            found = None  # and the memory is set free after this block, when the traceback no longer holds it
        if found is None:
            training_step.forget_gradients()
            gc.collect()
            torch.cuda.empty_cache()
            return None
        return found[0]

    def _split_batches_on_oom(self, step: int) -> None:
        """From here on batches have half the size and steps twice as many of them: once in a run, recorded.

        Not where several processes train: the others have gone on and wait for this one's gradients.
        """
        progress = self.progress
        if progress.oom_split is not None or self.processes.count > 1 or self.config.batch_size == 1:
            raise EnvironmentFailed(self._too_large())
        progress.oom_split = OutOfMemory(epoch=progress.epoch + 1, step=step + 1)

    def notes(self) -> list[str]:
        """What a reader of the report must know of how the run went."""
        oom_split = self.progress.oom_split
        if oom_split is None:
            return []
        return [
            note(
                f"The GPU's memory ran out in epoch {oom_split.epoch}, step {oom_split.step}: from there on every batch "
                "was passed through in halves, their gradients added up."
            )
        ]

    def _too_large(self) -> str:
        suffix = note(" even with halved batches") if self.progress.oom_split else ""
        where = note(f"in one of {self.processes.count} processes ") if self.processes.count > 1 else ""
        return note(
            f"training: {where}the GPU's memory does not suffice for train.batch_size = {self.config.batch_size}{suffix}; "
            "lower it and raise train.gradient_accumulation_steps by as much, or set train.gradient_checkpointing"
        )

    def _start_timer(self) -> None:
        """Starts the clock of the training steps."""
        self._began, self._waited = self.meter.clock(), self.device_loader.waited_s

    def _log_steps(self, done: int, seen: list[tuple[Tensor, Tensor]]) -> None:
        """Brings the books up to the first `done` steps of the epoch; DataError where a loss is not finite."""
        losses, norms = (torch.stack(column).tolist() for column in zip(*seen, strict=True))
        progress, now = self.progress, self.meter.clock()
        progress.losses += losses
        progress.norms += norms
        progress.step = done
        for place, loss in enumerate(losses):
            if not np.isfinite(loss):
                raise DataError(
                    f"training: the loss is {loss} in epoch {progress.epoch + 1}, step {done - len(losses) + place + 1} "
                    f"(learning rate {self.training_step.learning_rate:.2g}); lower train.learning_rate, or "
                    "look for extreme values in the features"
                )
        self.meter.add(train_s=now - self._began, wait_s=self.device_loader.waited_s - self._waited)
        self.meter.note_memory()
        progress.seconds += now - self._began
        self._began, self._waited = now, self.device_loader.waited_s
