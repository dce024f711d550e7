"""HF Trainer as a careful script has it: a frozen backbone and a head on its cached vectors, or all of it fine-tuned.

head: vectors standardised by the train rows, a hidden layer of 256 with dropout, AdamW at 1e-3. full: a linear layer on the
joined vectors, AdamW at 1e-4 for the backbones and 1e-3 for it. Both: batches of 32, weight decay 0.01, a cosine schedule
after 10 % of warm-up, validation after every epoch, and the epoch with the best validation accuracy is kept. No augmentation.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, set_seed

from benchmarks.contestants.backbones import Backbones, Batch
from benchmarks.contestants.exchange import Answers, Request, Row, main, measure_answers, read_rows

BATCH = 32
RATES = {"backbones": 1e-4, "head": 1e-3}
WEIGHTS, LABELS = "model.safetensors", "labels.json"


class Classifier(nn.Module):
    """A head on vectors, or on the backbones themselves."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, classes: int, backbones: Backbones | None) -> None:
        super().__init__()
        hidden = (nn.Linear(width, 256), nn.GELU(), nn.Dropout(0.3), nn.Linear(256, classes))
        self.head = nn.Sequential(*hidden) if backbones is None else nn.Linear(width, classes)
        self.backbones = backbones
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))

    def standardise_by(self, vectors: Tensor) -> None:
        """Vectors are read with the mean and deviation of these (N, D): those of several networks differ in scale."""
        self.mean = vectors.mean(0)
        # as batch norm does it, so that what is constant on the train rows is not blown up on others
        self.std = (vectors.var(0) + 1e-5).sqrt()

    def forward(self, inputs: Any, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (N, C), and the loss where labels (N,) are given."""
        logits = self.head((inputs - self.mean) / self.std if self.backbones is None else self.backbones(inputs))
        return (
            {"logits": logits}
            if labels is None
            else {"loss": functional.cross_entropy(logits, labels), "logits": logits}
        )


class Rows(Dataset[tuple[Any, int]]):
    """(what is read, position of the label)"""

    def __init__(self, inputs: Sequence[Any], targets: list[int]) -> None:
        self.inputs, self.targets = inputs, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[Any, int]:
        return self.inputs[place], self.targets[place]


def fit(request: Request) -> None:
    """Weights and labels are saved."""
    torch.set_num_threads(request["threads"])
    set_seed(request["seed"])
    frozen, work = request["regime"] == "head", Path(request["work"])
    rows = {split: read_rows(request, split) for split in ("train", "val")}
    labels = sorted({row["label"] for row in rows["train"]})
    backbones = Backbones(request)
    read: dict[str, Any] = {split: backbones.embed(part) for split, part in rows.items()} if frozen else rows
    model = Classifier(backbones.width, len(labels), None if frozen else backbones)
    if frozen:
        model.standardise_by(read["train"])

    def collate(batch: list[tuple[Any, int]]) -> dict[str, Tensor | dict[str, Batch]]:
        """What a batch of the model is."""
        found = [inputs for inputs, _ in batch]
        return {
            "inputs": torch.stack(found) if frozen else backbones.prepare(found),
            "labels": torch.tensor([target for _, target in batch]),
        }

    parts = {split: Rows(read[split], [labels.index(row["label"]) for row in part]) for split, part in rows.items()}
    groups = [{"params": list(model.head.parameters()), "lr": RATES["head"]}]
    if not frozen:
        groups.append({"params": list(backbones.parameters()), "lr": RATES["backbones"]})
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=arguments(request, folder),
            train_dataset=cast(Any, parts["train"]),
            eval_dataset=cast(Any, parts["val"]),
            data_collator=cast(Any, collate),
            compute_metrics=cast(Any, accuracy),
            optimizers=(torch.optim.AdamW(cast(Any, groups), weight_decay=0.01), cast(Any, None)),
        )
        trainer.train()
    save_file({name: each.contiguous() for name, each in model.state_dict().items()}, work / WEIGHTS)
    (work / LABELS).write_text(json.dumps(labels), encoding="utf-8")


def arguments(request: Request, folder: str) -> TrainingArguments:
    """Those of both regimes."""
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=request["epochs"],
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        label_names=["labels"],
        remove_unused_columns=False,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        seed=request["seed"],
        dataloader_pin_memory=False,
    )


def accuracy(found: tuple[Any, Any]) -> dict[str, float]:
    """Of the most probable class."""
    logits, truth = found
    return {"accuracy": float((np.asarray(logits).argmax(axis=1) == truth).mean())}


def answer(request: Request) -> Answers:
    """Backbones and weights loaded anew."""
    torch.set_num_threads(request["threads"])
    frozen, work = request["regime"] == "head", Path(request["work"])
    labels = json.loads((work / LABELS).read_text(encoding="utf-8"))
    backbones = Backbones(request)
    model = Classifier(backbones.width, len(labels), None if frozen else backbones).eval()
    model.load_state_dict(load_file(work / WEIGHTS))
    backbones.eval()

    def predict(rows: Sequence[Row]) -> list[str]:
        """The most probable class of each row."""
        with torch.inference_mode():
            if frozen:
                logits = model(backbones.embed(rows))["logits"]
            else:
                logits = model.head(backbones.embed(rows))
        return [labels[place] for place in logits.argmax(dim=1)]

    folders = [Path(folder) for folder in request["inputs"].values()]
    kept = (
        folders
        if frozen
        else [file for folder in folders for file in folder.iterdir() if file.suffix != ".safetensors"]
    )
    return measure_answers(request, predict, [work / WEIGHTS, work / LABELS, *kept])


if __name__ == "__main__":
    main(fit, answer)
