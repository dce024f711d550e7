"""The training loop: features in, the best weights out. The same seed gives the same bytes on a CPU, killed or not."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from tasks import progress
from tasks.config import TrainConfig
from tasks.errors import DataError
from tasks.modeling.augment import augment
from tasks.modeling.batches import to_tensors
from tasks.modeling.features import Inputs
from tasks.modeling.fusion import FusedClassifier, Present, drop_modalities
from tasks.modeling.inference import predict_inputs
from tasks.modeling.package import build_model, describe_model, save_model
from tasks.store import Store, canonical_json, write_text
from tasks.train.job import TrainJob, read_samples
from tasks.train.optim import build_optimizer, learning_rate, set_learning_rate, update_average
from tasks.train.state import TrainState, optimizer_tensors, read_state, restore_optimizer, save_state
from tasks.train.thresholds import tune_card

HISTORY = "history.json"


@dataclass(frozen=True)
class Dataset:
    """The rows of one split, ready to be drawn from."""

    inputs: Inputs
    targets: npt.NDArray[np.int64]
    """(N,) class indices."""
    weights: npt.NDArray[np.float32]
    """(N,), 1 on average."""


def run_training(job: TrainJob, work: Path) -> None:
    """Leaves model.safetensors, model.json and history.json in `work`, going on from the state found there.

    Raises DataError where a split is empty or the loss is not finite.
    """
    store = Store(job.store)
    samples = read_samples(job.valid, job.features, store)
    train, val = (_dataset(samples, split, job, store) for split in ("train", "val"))
    card = describe_model(job.valid, job.features, job.config)
    with _reproducible(job.config.seed, job.config.train.threads):
        trainer = Trainer(card, train, job.config.train, job.config.fusion.modality_dropout, job.config.seed)
        state = trainer.resume(work)
        while not trainer.finished(state):
            trainer.run_epoch(state, val)
            save_state(state, work)
            last = state.history[-1]
            remark = f"val loss {last['val_loss']:.4f}, accuracy {last['val_accuracy']:.4f}"
            progress.report("train", state.epoch, job.config.train.epochs, remark)
        best = build_model(card)
        best.load_state_dict(state.best)
        tuned = (
            tune_card(card, predict_inputs(best, val.inputs), val.targets) if job.config.train.tune_thresholds else None
        )
    save_model(best, work, card)
    parameters = sum(parameter.numel() for parameter in best.parameters())
    history = {"epochs": state.history, "best_epoch": state.best_epoch, "parameters": parameters}
    if tuned is not None:
        history["thresholds"] = tuned
    write_text(work / HISTORY, canonical_json(history))


class Trainer:
    """One model in training. All that lasts beyond an epoch is written to the state."""

    def __init__(
        self, card: dict[str, Any], train: Dataset, config: TrainConfig, modality_dropout: float, seed: int
    ) -> None:
        self.train, self.config, self.modality_dropout, self.seed = train, config, modality_dropout, seed
        on_cpu = config.device == "cpu" or not torch.cuda.is_available()
        self.accelerator = Accelerator(cpu=on_cpu, mixed_precision="no" if on_cpu else "bf16")
        plain: FusedClassifier = build_model(card).to(self.accelerator.device)
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in plain.named_parameters()}
        self.plain = plain
        self.averaged = copy.deepcopy(plain)
        self.model, self.optimizer = self.accelerator.prepare(plain, build_optimizer(plain, config))
        self.steps_per_epoch = -(-train.inputs.rows // config.batch_size)

    def resume(self, work: Path) -> TrainState:
        """The state left in `work`, put into model and optimizer; else a new one."""
        state = read_state(work)
        if state is None:
            weights = _copy(self.plain.state_dict())
            return TrainState(weights, {}, _copy(weights), {})
        self.plain.load_state_dict(state.model)
        restore_optimizer(self.optimizer.optimizer, self.names, state.optimizer)
        like = self.plain.state_dict()
        state.average = {name: torch.empty_like(like[name]).copy_(tensor) for name, tensor in state.average.items()}
        return state

    def finished(self, state: TrainState) -> bool:
        """True after the last epoch, or `patience` epochs without a better validation loss."""
        return state.epoch >= self.config.epochs or state.epoch - state.best_epoch >= self.config.patience

    def run_epoch(self, state: TrainState, val: Dataset) -> None:
        """Trains one epoch, judges the averaged weights on the validation rows, and brings the state up to date."""
        began = time.perf_counter()
        epoch = state.epoch + 1
        losses, norms = self._run_steps(state, epoch)
        self.averaged.load_state_dict(state.average)
        val_loss, val_accuracy = judge(self.averaged, val, self.config.label_smoothing)
        if not np.isfinite(val_loss):
            raise DataError(f"training: the validation loss is {val_loss} in epoch {epoch}; lower train.learning_rate")
        if state.best_loss is None or val_loss < state.best_loss:
            state.best, state.best_loss, state.best_epoch = _copy(state.average), val_loss, epoch
        state.epoch, state.model = epoch, self.plain.state_dict()
        state.optimizer = optimizer_tensors(self.optimizer.optimizer, self.names)
        state.history.append(
            {
                "epoch": epoch,
                "train_loss": float(np.mean(losses)),
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "grad_norm": float(np.mean(norms)),
                "seconds": round(time.perf_counter() - began, 3),
            }
        )

    def _run_steps(self, state: TrainState, epoch: int) -> tuple[list[float], list[float]]:
        """One pass over the training rows; every draw depends on seed and epoch alone."""
        torch.manual_seed(_seed(self.seed, epoch, 0))  # dropout inside the network
        generator = torch.Generator().manual_seed(_seed(self.seed, epoch, 1))
        order = np.random.default_rng([self.seed, epoch, 2]).permutation(self.train.inputs.rows)
        losses, norms = [], []
        self.model.train()
        for number in range(self.steps_per_epoch):
            rows = order[number * self.config.batch_size : (number + 1) * self.config.batch_size]
            step = (epoch - 1) * self.steps_per_epoch + number
            rate = learning_rate(step, self.config.epochs * self.steps_per_epoch, self.config)
            set_learning_rate(self.optimizer, rate)
            loss = self._loss(rows, generator)
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise DataError(
                    f"training: the loss is {losses[-1]} in epoch {epoch}, step {number + 1} (learning rate {rate:.2g}); "
                    "lower train.learning_rate, or look for extreme values in the features"
                )
            self.accelerator.backward(loss)
            norms.append(float(self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)))
            self.optimizer.step()
            self.optimizer.zero_grad()
            update_average(state.average, self.plain.state_dict(), step, self.config.average_decay)
        return losses, norms

    def _loss(self, rows: npt.NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """The weighted loss of a batch: the fused head's, and those of each modality's own head."""
        device, config = self.accelerator.device, self.config
        batch = to_tensors(self.train.inputs.batch(rows), device)
        if config.augment:
            batch = augment(batch, config, self.plain.specs, generator)
        targets = torch.from_numpy(self.train.targets[rows]).to(device)
        weights = torch.from_numpy(self.train.weights[rows]).to(device)
        present = _presence(batch, self.plain, len(rows))
        hidden = drop_modalities(present, self.modality_dropout, generator).to(device)
        with self.accelerator.autocast():
            output = self.model(batch, len(rows), hidden)
        loss = self._cross_entropy(output.logits, targets, weights)
        for name, logits in output.auxiliary.items():
            own = batch[name].rows
            loss = loss + config.auxiliary * self._cross_entropy(logits, targets[own], weights[own])
        return loss

    def _cross_entropy(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        each = functional.cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=self.config.label_smoothing
        )
        return (each * weights).mean()


def judge(model: FusedClassifier, data: Dataset, smoothing: float) -> tuple[float, float]:
    """The weighted mean loss, and the accuracy, with all that is present given.

    The targets are smoothed as in training: against hard ones, a model that reaches its smoothed targets looks worse
    with every epoch, and an early, less accurate one would be kept.
    """
    probabilities = predict_inputs(model, data.inputs)
    surprise = -np.log(np.maximum(probabilities.astype(np.float64), 1e-12))  # (N, C)
    chosen = surprise[np.arange(len(surprise)), data.targets]
    each = (1 - smoothing) * chosen + smoothing * surprise.mean(axis=1)
    accuracy = float((probabilities.argmax(axis=1) == data.targets).mean())
    return float(np.average(each, weights=data.weights)), accuracy


def _dataset(samples: pa.Table, split: str, job: TrainJob, store: Store) -> Dataset:
    rows = samples.filter(pa.compute.equal(samples["split"], split))
    if not rows.num_rows:
        raise DataError(f"training: there are no rows in the {split} split; give some, or raise split.{split}")
    index = {label: position for position, label in enumerate(job.valid.clean.labels)}
    targets = np.array([index[label] for label in rows["label"].to_pylist()], np.int64)
    weights = rows["weight"].to_numpy().astype(np.float32)
    if not weights.mean() > 0:
        raise DataError(f"training: the weights of the {split} rows sum to {weights.sum():g}; at least one must be > 0")
    return Dataset(Inputs.load(rows, job.features, store), targets, weights / weights.mean())


def _presence(batch: dict[Any, Present], model: FusedClassifier, size: int) -> Tensor:
    """(B, K) True where a row has the modality, on the CPU."""
    present = torch.zeros(size, len(model.modalities), dtype=torch.bool)
    for column, name in enumerate(model.modalities):
        if name in batch:
            present[batch[name].rows.cpu(), column] = True
    return present


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _reproducible(seed: int, threads: int) -> Iterator[None]:
    """Deterministic kernels, a fixed number of threads, the seed; all as before afterwards."""
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with torch.random.fork_rng():
        torch.manual_seed(_seed(seed, 0, 3))
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
