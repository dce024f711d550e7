"""Full fine-tuning of ViT-B/16 and BERT-base on one GPU: our loop against HF Trainer, in one run.

    python -m benchmarks.gpu_finetune [--batch 128] [--steps 60] [--runs 3] [--compile]
    python -m benchmarks.gpu_finetune --smoke      tiny networks and few steps on a CPU: that it runs, not how fast

The weights are random: speed does not depend on them. Pictures (3 x 224 x 224, uint8) and texts (16 to 128 tokens) are made
up and lie in memory. Both loops train the same network of ours on the same rows, in bf16, with fused AdamW, clipping and as
many rows a step. Ours is what a run does: the real Trainer with its running average of the weights; augmentation is off, as
HF Trainer has none. HF Trainer is the plain loop: a map dataset, 4 loader processes, texts padded to the longest of their
batch, nothing logged, saved or evaluated. Each is timed over all its steps after a run of a few steps that warms it up; making
the data and the networks is left out. FLOPs are torch's count of our step, the peak is the card's for dense bf16.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from benchmarks.measure import machine, median
from data_contracts.refs import InputName
from tasks.config import RunConfig, load_config
from tasks.modeling.card import ModelCard
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.features import FeatureTable, Index, Inputs
from tasks.modeling.fusion.classifier import FusedClassifier, Present
from tasks.modeling.targets import EncodedTargets
from tasks.train import dataset as ours
from tasks.train import stage, trainer
from tasks.train.processes import Processes
from tasks.train.throughput import peak_flops

CLASSES = 10
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


@dataclass(frozen=True)
class Task:
    """One network and its rows."""

    name: str
    modality: InputName
    spec: EncoderSpec
    table: FeatureTable
    targets: Index

    def build(self, config: RunConfig) -> FusedClassifier:
        """The network with random weights."""
        torch.manual_seed(0)
        return FusedClassifier({self.modality: self.spec}, CLASSES, config.fusion)


def vit(rows: int, smoke: bool) -> Task:
    """ViT-B/16 on pictures; a ViT of two layers for a smoke test."""
    side = 32 if smoke else 224
    size = SMALL if smoke else {}
    settings = {"config": {"model_type": "vit", "image_size": side, "patch_size": 16, **size}, "px": side}
    picture = {"mean": [0.5] * 3, "std": [0.5] * 3, "resample": 2, "pooling": "first"}
    spec = _spec("image", settings | picture | {"adapter": "hf-pictures"})
    pixels = np.random.default_rng(0).integers(0, 256, (rows * side, side, 3), np.uint8)
    return Task("ViT-B/16", "image", spec, _table("image", np.full(rows, side), pixels), _targets(rows))


def bert(rows: int, smoke: bool) -> Task:
    """BERT-base on tokens; a BERT of two layers for a smoke test."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(16, 129, rows)
    settings = {"config": {"model_type": "bert", **(SMALL if smoke else {})}, "adapter": "hf-text", "pooling": "mean"}
    tokens = rng.integers(1000, 30_000, int(lengths.sum()), np.int32)
    return Task("BERT-base", "text", _spec("text", settings), _table("text", lengths, tokens), _targets(rows))


def _spec(modality: InputName, settings: dict[str, Any]) -> EncoderSpec:
    return EncoderSpec(encoder="hf:random", reads="inputs", weights_sha256="0" * 64, settings=settings)


def _table(modality: InputName, lengths: Index, values: Any) -> FeatureTable:
    digests = pa.array([str(n) for n in range(len(lengths))])
    return FeatureTable(modality, digests, np.cumsum(lengths) - lengths, lengths, values)


def _targets(rows: int) -> Index:
    return np.random.default_rng(1).integers(0, CLASSES, rows)


def time_ours(task: Task, config: RunConfig) -> dict[str, Any]:
    """The figures of a run of ours, `seconds` of its training steps and `flops_per_sample` among them."""

    def part(last: int) -> ours.Dataset:
        """The first rows of the task, as the training loop reads them."""
        inputs = Inputs({task.modality: task.table}, {task.modality: np.arange(last)}, last)
        known = EncodedTargets(network.targets, (torch.from_numpy(task.targets[:last]),))
        return ours.Dataset(inputs, known, np.ones(last, np.float32))

    network = task.build(config)
    card = mock.Mock(spec=ModelCard)  # all that is read of it is patched away below
    with (
        tempfile.TemporaryDirectory() as work,
        mock.patch.object(trainer, "build_model", return_value=network),
        mock.patch.object(trainer, "load_pretrained"),
        stage.reproducible(0, config.train),
    ):
        data = part(len(task.targets)), part(config.train.batch_size)
        run = trainer.Trainer(card, *data, config, Processes(config.train), Path(work))
        run.run_epoch()  # warms up: kernels are chosen, and compiled if asked for
        before = dict(run.progress.figures)
        run.run_epoch()
        sums = {name: amount - before.get(name, 0.0) for name, amount in run.progress.figures.items()}
        shares = {"wait": sums.get("wait_s", 0.0) / sums["train_s"], "warm_up": before["train_s"]}
        return run.meter.figures().model_dump() | {"seconds": sums["train_s"]} | shares


class Head(nn.Module):
    """The network as HF Trainer calls it."""

    def __init__(self, task: Task, config: RunConfig) -> None:
        super().__init__()
        self.network, self.train_config, self.modality = task.build(config), config.train, task.modality

    def forward(self, values: Tensor, lengths: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Values and (B,) lengths and labels -> the loss that we train on, and logits."""
        if self.modality == "image":
            values = values.movedim(-1, -3).float().div(255.0)
        rows = torch.arange(len(labels), device=labels.device)
        output = self.network({self.modality: Present(rows, values, lengths)}, len(labels), None)
        smoothing = self.train_config.label_smoothing
        loss = functional.cross_entropy(output.logits.float(), labels, label_smoothing=smoothing)
        own = functional.cross_entropy(output.auxiliary[self.modality].float(), labels, label_smoothing=smoothing)
        return {"loss": loss + self.train_config.unimodal_loss_weight * own, "logits": output.logits}


class Samples(Dataset[dict[str, Tensor]]):
    """One row after the other, as a map dataset has them."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        table = self.task.table
        start, length = int(table.starts[place]), int(table.lengths[place])
        values = torch.from_numpy(table.values[start : start + length])
        label = torch.tensor(int(self.task.targets[place]))
        return {"values": values, "lengths": torch.tensor(length), "labels": label}

    def __len__(self) -> int:
        return len(self.task.targets)


def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """A batch, padded to the longest of its rows."""
    values = nn.utils.rnn.pad_sequence([row["values"] for row in rows], batch_first=True)
    if values.dtype != torch.uint8:
        values = values.long()
    return {"values": values, **{name: torch.stack([row[name] for row in rows]) for name in ("lengths", "labels")}}


def time_hf(task: Task, config: RunConfig, steps: int, smoke: bool) -> float:
    """Seconds of `steps` steps of HF Trainer, the first ones left out."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    marks: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Notes the time after the steps that warm up, and after the last."""

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            """At both ends of what is timed, once the device is done."""
            if state.global_step in (steps, 2 * steps):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=config.train.batch_size,
            num_train_epochs=2,
            learning_rate=config.train.encoder_learning_rate,
            max_grad_norm=config.train.max_grad_norm,
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            bf16=not smoke,
            use_cpu=smoke,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_num_workers=0 if smoke else 4,
            dataloader_pin_memory=not smoke,
            dataloader_persistent_workers=not smoke,
            torch_compile=config.train.compile,
        )
        run = Trainer(
            model=Head(task, config),
            args=arguments,
            train_dataset=cast(Any, Samples(task)),
            data_collator=collate,
            callbacks=[Clock()],
        )
        run.train()
    return marks[1] - marks[0]


def main() -> None:
    """Prints rows a second, MFU, data wait and the ratio for both networks; exits with 1 where there is no GPU."""
    parser = argparse.ArgumentParser()
    for name, value in {"batch": 128, "steps": 60, "runs": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    if not args.smoke and not torch.cuda.is_available():
        sys.exit("gpu_finetune: torch sees no CUDA device here, so nothing was measured; --smoke runs it on a CPU")
    if args.smoke:
        args.batch, args.steps, args.runs = 4, 2, 1
    settings = [
        f"train.batch_size={args.batch}",
        f"train.compile={str(args.compile).lower()}",
        f"train.device={'cpu' if args.smoke else 'auto'}",
        *("train.threads=1", "train.regime=full", "train.head_epochs=0", "train.epochs=2", "train.augment=false"),
    ]
    config = load_config({}, settings)
    rows = args.batch * args.steps
    where = "CPU, smoke test: no figure here means anything" if args.smoke else torch.cuda.get_device_name()
    print(f"{machine('torch', 'transformers')}; {where}; batches of {args.batch}, medians of {args.runs}")
    peak = None if args.smoke else peak_flops(where)
    for make in (vit, bert):
        task = make(rows, args.smoke)
        found, peer = [], []
        for _ in range(args.runs):
            found.append(time_ours(task, config))
            peer.append(time_hf(task, config, args.steps, args.smoke))
            seconds = f"{found[-1]['seconds']:.2f} s (warm-up {found[-1]['warm_up']:.1f} s), HF {peer[-1]:.2f} s"
            print(f"{task.name}: ours {seconds}", file=sys.stderr, flush=True)
        mine, other = rows / median([one["seconds"] for one in found]), rows / median(peer)
        each, wait = found[-1]["flops_per_sample"], median([one["wait"] for one in found])
        shares = [f"{rate * each / peak:.1%}" if each and peak else "unknown" for rate in (mine, other)]
        print(f"{task.name:10} ours {mine:9,.1f} rows/s, MFU {shares[0]}, data wait {wait:.1%}")
        print(f"{'':10} HF   {other:9,.1f} rows/s, MFU {shares[1]}; ours / HF {mine / other:.2f}", flush=True)


if __name__ == "__main__":
    main()
