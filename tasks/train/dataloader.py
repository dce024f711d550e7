"""The batches of a step: features on the device, augmented, blended, with their targets and weights."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_contracts.refs import InputName
from tasks.config import TrainConfig
from tasks.modeling.augment import augment
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import Present
from tasks.train.batch_plan import Microbatch
from tasks.train.dataset import Dataset, source_of
from tasks.train.distillation import Teacher
from tasks.train.fsdp import PlaceholderRows
from tasks.train.mixup import mix
from tasks.train.prefetch import ahead

AT_ONCE = 64  # microbatches


class TrainBatch(NamedTuple):
    """A microbatch of a step on the device."""

    inputs: dict[InputName, Present]
    soft: Tensor
    """(B, outputs) targets, NaN where one is not known."""
    weights: Tensor
    """(B,)"""
    hidden: Tensor | None
    """(B, K) on the device."""
    microbatch: Microbatch
    teacher: Teacher | None = None
    """What it says of these rows."""


class DeviceLoader:
    """Prepares microbatches: in this thread on a CPU, whose cores the step needs itself; in one of its own beside a GPU."""

    def __init__(
        self,
        data: Dataset,
        specs: Mapping[InputName, EncoderSpec],
        config: TrainConfig,
        device: torch.device,
        divided: bool = False,
    ) -> None:
        self.specs, self.config, self.device = specs, config, device
        self.source = source_of(data.inputs, specs, device)
        self.targets = data.targets.to(device)
        self.weights = torch.from_numpy(data.weights).to(device)
        self.teacher = None if data.teacher is None else data.teacher.to(device)
        self.only_embeddings = all(spec.reads == "embedding" for spec in specs.values()) and not (
            config.mixup or config.cutmix
        )
        self.placeholder_rows = PlaceholderRows(data, self.source, tuple(specs)) if divided else None
        self.waited_s = 0.0
        """Time that steps spent waiting for what they read."""

    def feed(self, microbatches: Iterator[Microbatch]) -> Generator[TrainBatch, None, None]:
        """The prepared microbatches, in their order."""
        batches = self._prepared(microbatches)
        if self.device.type == "cuda" and not self.only_embeddings:
            batches = _on_side_stream(batches, self.device)
        with contextlib.closing(batches):  # and with it the thread, when the epoch ends or memory runs out
            while True:
                began = time.perf_counter()
                batch = next(batches, None)
                self.waited_s += time.perf_counter() - began
                if batch is None:
                    return
                yield batch

    def _prepared(self, microbatches: Iterator[Microbatch]) -> Generator[TrainBatch, None, None]:
        """Draws and picks targets for many microbatches at once: such small work is slower between the products of a step."""
        while run := list(islice(microbatches, AT_ONCE)):
            rows = torch.from_numpy(np.concatenate([microbatch.rows for microbatch in run])).to(self.device)
            counts = [len(microbatch.rows) for microbatch in run]
            softs = self.targets.soft(rows).split_with_sizes(counts)
            weights = self.weights.index_select(0, rows).split_with_sizes(counts)
            yield from map(self._prepare, run, softs, weights)

    def _prepare(self, microbatch: Microbatch, soft: Tensor, weights: Tensor) -> TrainBatch:
        """One microbatch on the device with its targets; every draw comes from its seed."""
        batch = self.source.take(microbatch.rows)
        if not self.only_embeddings:  # embeddings are neither augmented nor, unless asked for, blended
            generator = torch.Generator().manual_seed(microbatch.seed)
            if self.config.augment:
                batch = augment(batch, self.config, self.specs, generator)
            batch, soft = mix(batch, soft, self.config, generator)
        hidden = microbatch.hidden
        if self.placeholder_rows is not None:
            batch, hidden = self.placeholder_rows.add(batch, hidden, microbatch)
        hidden = None if hidden is None else hidden.to(self.device)
        teacher = None
        if self.teacher is not None:
            teacher = self.teacher.take(torch.from_numpy(microbatch.rows).to(self.device))
        return TrainBatch(batch, soft, weights, hidden, microbatch, teacher)


def _on_side_stream(batches: Iterator[TrainBatch], device: torch.device) -> Generator[TrainBatch, None, None]:
    """Prepares ahead in a thread whose copies and kernels run beside the step's, and waits for them on the device."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def record() -> Iterator[tuple[TrainBatch, torch.cuda.Event]]:
        """Each batch with the event after which it is ready on the device."""
        while True:
            with torch.cuda.stream(side):
                batch = next(batches, None)
                if batch is None:
                    return
                event = side.record_event()
            yield batch, event

    with contextlib.closing(ahead(record())) as items:
        for batch, event in items:
            current = torch.cuda.current_stream(device)
            current.wait_event(event)
            for tensor in _tensors(batch):
                tensor.record_stream(current)  # its memory is not handed out again while the step reads it
            yield batch


def _tensors(batch: TrainBatch) -> Iterator[Tensor]:
    yield from (tensor for part in batch.inputs.values() for tensor in part)
    yield from (tensor for tensor in (batch.soft, batch.weights, batch.hidden) if tensor is not None)
