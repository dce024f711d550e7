"""Training a head on cached features: our loop, HF Trainer, Lightning, and the bare matrix products, in one run.

    python -m benchmarks.head_training [--rows 50000] [--width 1664] [--epochs 2] [--runs 3] [--threads 1] [--batch 64]

The same layers (projection, norm, shared layer, head, the modality's own head), rows, batch size, loss, optimizer (AdamW)
and number of steps for all; the others' are plain torch modules, without our mask of what is there. Ours is what a run
does: the real Trainer, with its running average of the weights, gradient norms and modality mask, validation (on 256 rows)
and keeping its state included. HF Trainer gets its fused AdamW, no evaluation, no saving, no reports; Lightning no
checkpoints, loggers or bars; both read a dataset of tensors through a DataLoader without worker processes, once as most
scripts write it (row by row) and once with whole batches picked by an index, which is the best they can do. Feature loading
and model building are left out of all timings. The floor is the products of forward and backward pass alone, on batches
already cut. Contestants take turns; medians. With one thread, CPU seconds are what wall seconds would be on an idle machine.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

from benchmarks.measure import machine, median
from tasks.config import RunConfig, load_config
from tasks.encoder_ids import Reads
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import FeatureTable, Inputs
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.targets import EncodedTargets
from tasks.train import dataset as ours
from tasks.train import stage, trainer
from tasks.train.processes import Processes

CLASSES = 10
Rows = tuple[Tensor, Tensor]
Seconds = tuple[float, float]
"""Of wall and of CPU time."""


class Clock:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> Seconds:
        """Seconds since then."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def make_rows(rows: int, width: int) -> Rows:
    """Features (rows, width) that a head can learn from, and their classes."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, CLASSES, (rows,), generator=generator)
    centres = torch.randn(CLASSES, width, generator=generator)
    return centres[targets] * 0.1 + torch.randn(rows, width, generator=generator), targets


def build(width: int, config: RunConfig) -> FusedClassifier:
    """Our network."""
    torch.manual_seed(0)
    reads: Reads = "embedding"
    spec = EncoderSpec(encoder="torchvision:mobilenet_v2", reads=reads, width=width, weights_sha256="0" * 64)
    return FusedClassifier({"image": spec}, CLASSES, config.fusion)


class Head(nn.Module):
    """The same layers as one would write them for HF Trainer and Lightning: features and labels in, loss and logits out.

    Nothing of ours is in it: no mask of what is there, no embedding of what is missing.
    """

    def __init__(self, width: int, config: RunConfig) -> None:
        super().__init__()
        torch.manual_seed(0)
        fusion, self.train_config = config.fusion, config.train
        self.projection = nn.Sequential(nn.Linear(width, fusion.embed_dim), nn.LayerNorm(fusion.embed_dim))
        self.auxiliary = nn.Linear(fusion.embed_dim, CLASSES)
        self.head = nn.Sequential(
            nn.Dropout(fusion.dropout),
            nn.Linear(fusion.embed_dim, fusion.hidden),
            nn.GELU(),
            nn.Dropout(fusion.dropout),
            nn.Linear(fusion.hidden, CLASSES),
        )

    def forward(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """(B, width), (B,) -> the loss that we train on, and logits."""
        vectors = self.projection(features)
        logits = self.head(vectors)
        smoothing = self.train_config.label_smoothing
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        own = functional.cross_entropy(self.auxiliary(vectors), labels, label_smoothing=smoothing)
        return {"loss": loss + self.train_config.unimodal_loss_weight * own, "logits": logits}


def time_ours(rows: Rows, config: RunConfig) -> Seconds:
    """Seconds of all epochs, with validation, and keeping the state when it is due."""
    features, targets = (tensor.numpy() for tensor in rows)

    def part(first: int, last: int) -> ours.Dataset:
        """The rows from `first` to before `last`, as the training loop reads them."""
        count = last - first
        table = FeatureTable(
            "image",
            pa.array([str(n) for n in range(count)]),
            np.arange(count) * features.shape[1],
            np.full(count, features.shape[1]),
            features[first:last].reshape(-1),
        )
        inputs = Inputs({"image": table}, {"image": np.arange(count)}, count)
        known = EncodedTargets(network.targets, (torch.from_numpy(targets[first:last]),))
        return ours.Dataset(inputs, known, np.ones(count, np.float32))

    network = build(features.shape[1], config)
    card = mock.Mock(spec=ModelCard)  # all that is read of it is patched away below
    with (
        tempfile.TemporaryDirectory() as work,
        mock.patch.object(trainer, "build_model", return_value=network),
        mock.patch.object(trainer, "load_pretrained"),
        stage.reproducible(0, config.train),
    ):
        run = trainer.Trainer(card, part(0, len(targets)), part(0, 256), config, Processes(config.train), Path(work))
        clock = Clock()
        while not run.finished:
            run.run_epoch()
        return clock.read()


class ByBatch(Dataset[dict[str, Tensor]]):
    """Whole batches by a list of positions: the best that a DataLoader can be given."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __getitem__(self, places: list[int]) -> dict[str, Tensor]:
        chosen = torch.tensor(places)
        return {"features": self.rows[0][chosen], "labels": self.rows[1][chosen]}

    def __len__(self) -> int:
        return len(self.rows[1])


class ByRow(Dataset[dict[str, Tensor]]):
    """Row by row, as a script has it that was written for readability."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        return {"features": self.rows[0][place], "labels": self.rows[1][place]}

    def __len__(self) -> int:
        return len(self.rows[1])


def batches(rows: Rows, size: int) -> DataLoader[Any]:
    """A loader of whole batches in random order."""
    data = ByBatch(rows)
    sampler = BatchSampler(RandomSampler(cast(Any, data)), size, drop_last=False)
    return DataLoader(data, sampler=cast(Any, sampler), batch_size=None)


def time_hf(rows: Rows, config: RunConfig, by_batch: bool) -> Seconds:
    """Seconds of `Trainer.train`."""
    from transformers import Trainer, TrainingArguments

    class Quick(Trainer):  # type: ignore[misc]
        """Reads whole batches."""

        def get_train_dataloader(self) -> DataLoader[Any]:
            """Whole batches, as our loop reads them."""
            return batches(rows, config.train.batch_size)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=config.train.batch_size,
            num_train_epochs=config.train.epochs,
            learning_rate=config.train.learning_rate,
            weight_decay=config.train.weight_decay,
            max_grad_norm=config.train.max_grad_norm,
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        kind = Quick if by_batch else Trainer
        model = Head(rows[0].shape[1], config)
        run = kind(model=model, args=arguments, train_dataset=cast(Any, ByRow(rows)))
        clock = Clock()
        run.train()
        return clock.read()


def time_lightning(rows: Rows, config: RunConfig, by_batch: bool) -> Seconds:
    """Seconds of `Trainer.fit`. ImportError where Lightning is not installed."""
    import pytorch_lightning as lightning  # type: ignore[import-not-found, unused-ignore]

    class Module(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
        """The head with its optimizer."""

        def __init__(self) -> None:
            super().__init__()
            self.head = Head(rows[0].shape[1], config)

        def training_step(self, batch: Any, number: int) -> Tensor:
            """The loss of a batch."""
            features, labels = (batch["features"], batch["labels"]) if by_batch else batch
            return cast(Tensor, self.head(features, labels)["loss"])

        def configure_optimizers(self) -> Any:
            """The same optimizer and schedule as the others have."""
            optimizer = torch.optim.AdamW(self.parameters(), config.train.learning_rate, fused=True)
            steps = config.train.epochs * -(-len(rows[1]) // config.train.batch_size)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    size = config.train.batch_size
    loader = batches(rows, size) if by_batch else DataLoader(TensorDataset(*rows), size, shuffle=True)
    run = lightning.Trainer(
        max_epochs=config.train.epochs,
        accelerator="cpu",
        gradient_clip_val=config.train.max_grad_norm,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    clock = Clock()
    run.fit(Module(), loader)
    return clock.read()


def time_floor(rows: Rows, config: RunConfig) -> Seconds:
    """Seconds of the products that no implementation can leave out."""
    features, size, fusion = rows[0], config.train.batch_size, config.fusion
    shapes = [(features.shape[1], fusion.embed_dim), (fusion.embed_dim + 1, fusion.hidden), (fusion.hidden, CLASSES)]
    shapes.append((fusion.embed_dim, CLASSES))
    weights = [torch.randn(shape) for shape in shapes]
    inputs = [torch.randn(size, shape[0]) for shape in shapes]
    gradients = [torch.randn(size, shape[1]) for shape in shapes]
    clock = Clock()
    for _ in range(config.train.epochs):
        for start in range(0, len(features) - size + 1, size):
            inputs[0] = features[start : start + size]
            for number, (x, w, g) in enumerate(zip(inputs, weights, gradients, strict=True)):
                x @ w
                x.T @ g
                if number:  # nothing before the features wants a gradient
                    g @ w.T
    return clock.read()


def main() -> None:
    """Prints seconds, rows a second and the ratio to ours for every contestant."""
    parser = argparse.ArgumentParser()
    for name, value in {"rows": 50_000, "width": 1664, "epochs": 2, "runs": 3, "threads": 1, "batch": 64}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    settings = [f"train.epochs={args.epochs}", f"train.batch_size={args.batch}", f"train.threads={args.threads}"]
    config = load_config({}, [*settings, "train.device=cpu"])
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    rows = make_rows(args.rows, args.width)
    contestants: dict[str, Callable[[], Seconds]] = {
        "ours": lambda: time_ours(rows, config),
        "HF Trainer, row by row": lambda: time_hf(rows, config, False),
        "HF Trainer, whole batches": lambda: time_hf(rows, config, True),
        "Lightning, row by row": lambda: time_lightning(rows, config, False),
        "Lightning, whole batches": lambda: time_lightning(rows, config, True),
        "GEMM floor": lambda: time_floor(rows, config),
    }
    found: dict[str, list[Seconds]] = {name: [] for name in contestants}
    for turn in range(args.runs + 1):
        for name, contestant in contestants.items():
            try:
                seconds = contestant()
            except ImportError:
                continue
            if turn:  # the first turn warms up
                found[name].append(seconds)
    print(machine("torch", "transformers"), f"{args.threads} threads", sep="; ")
    print(f"{args.rows:,} rows x {args.width:,}, {args.epochs} epochs, batches of {args.batch}; medians of {args.runs}")
    base = [median(column) for column in zip(*found["ours"], strict=True)]
    for name, times in found.items():
        if not times:
            print(f"{name:26} not installed")
            continue
        wall, cpu = (median(column) for column in zip(*times, strict=True))
        rate = args.rows * args.epochs / cpu
        print(
            f"{name:26} wall {wall:7.2f} s ({wall / base[0]:5.2f} x ours)   "
            f"CPU {cpu:7.2f} s ({cpu / base[1]:5.2f} x ours), {rate:9,.0f} rows per CPU second"
        )


if __name__ == "__main__":
    main()
