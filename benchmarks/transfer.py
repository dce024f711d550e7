"""What transfer brings: one network with every regime, and the same network from scratch.

    python -m benchmarks.transfer [--px 96] [--epochs 3] [--only full,head] [--store DIR]
    python -m benchmarks.transfer --all            on a GPU: all 50,000 pictures, the full recipe, 10,000 test pictures

Without `--all`: 9,000 CIFAR-10 pictures on 2 threads, made large to `px` pixels. Counted as minutes: training with the start
of its process and validation, and the computing of what it reads (the frozen network's vectors, or the pictures made large,
which all rows but the first share). Left out: reading the pictures in, once for all, and evaluation. The network from
scratch gets twice the epochs of full fine-tuning, and more than its minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.training_run import TrainingRun, train_and_evaluate

NETWORK = "torchvision:mobilenet_v2"
MARGIN_POINTS = 15.0
"""How far ahead of the network from scratch fine-tuning must be."""


def main() -> None:
    """Prints a table: the network from scratch and in every regime."""
    parser = argparse.ArgumentParser(description="Pretrained against from scratch")
    parser.add_argument("--all", action="store_true", help="all pictures, full fine-tuning; meant for a GPU")
    parser.add_argument("--data", help="a manifest instead of the one in ../shared/data")
    parser.add_argument("--weights", default="../shared/weights/mobilenet_v2-imagenet.safetensors")
    parser.add_argument("--px", type=int, help="side of the pictures as the network sees them; 96, with --all 160")
    parser.add_argument("--epochs", type=int, help="of fine-tuning; 3, with --all 15")
    parser.add_argument("--sample", type=int, help="only so many rows, to try the command out")
    parser.add_argument("--only", help="names of rows, with commas between")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch", "torchvision"), flush=True)
    data = options.data or f"../shared/data/{'cifar10' if options.all else 'cifar10_12k/manifest.csv'}"
    pretrained = f"{NETWORK}@{Path(options.weights).resolve()}"
    if options.all:
        rows = whole_recipe(pretrained, options.px or 160, options.epochs or 15)
    else:
        rows = recipes(pretrained, options.px or 96, options.epochs or 3)
    if options.only:
        rows = {name: settings for name, settings in rows.items() if name in options.only.split(",")}
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        found: dict[str, TrainingRun] = {}
        for name, settings in rows.items():
            sample = [f"data.max_rows={options.sample}"] if options.sample else []
            found[name] = train_and_evaluate(data, [*settings, *sample], store)
            print(line(name, found[name]), flush=True)
    print("\n| | epochs | test accuracy | computing features | training | CPU |")
    print("|---|---|---|---|---|---|")
    print("\n".join(line(name, run) for name, run in found.items()))
    resolve(found)


def recipes(pretrained: str, px: int, epochs: int) -> dict[str, list[str]]:
    """The settings of every row; what fine-tunes starts with one epoch of the head."""
    common = [f"encoders.image_px={px}", "train.horizontal_flip=true", "train.threads=2"]
    tuned = [*common, f"encoders.image={pretrained}", "train.head_epochs=1", f"train.epochs={epochs}"]
    return {
        "head": [*common, f"encoders.image={pretrained}", "train.regime=head", "train.epochs=25"],
        "last-n": [*tuned, "train.regime=last-n", "train.last_n=6", "train.encoder_learning_rate=5e-4"],
        "lora": [*tuned, "train.regime=lora", "train.encoder_learning_rate=3e-4"],
        "full": [*tuned, "train.regime=full", "train.encoder_learning_rate=5e-4"],
        "scratch": [*common, f"encoders.image={NETWORK}@random", f"train.epochs={2 * epochs}"],
    }


def whole_recipe(pretrained: str, px: int, epochs: int) -> dict[str, list[str]]:
    """Full fine-tuning with all the augmentation that pays over many epochs."""
    settings = {
        "encoders.image": pretrained,
        "encoders.image_px": px,
        "train.regime": "full",
        "train.head_epochs": 1,
        "train.epochs": epochs,
        "train.batch_size": 256,
        "train.learning_rate": 2e-3,
        "train.encoder_learning_rate": 1e-3,
        "train.encoder_weight_decay": 0.05,
        "train.label_smoothing": 0.1,
        "train.ema_decay": 0.99,
        "train.horizontal_flip": "true",
        "train.min_crop_scale": 0.4,
        "train.trivial_augment": "true",
        "train.mixup": 0.2,
        "train.cutmix": 1.0,
    }
    return {"full, all pictures": [f"{key}={value}" for key, value in settings.items()]}


def line(name: str, run: TrainingRun) -> str:
    """One row of the table."""
    return (
        f"| {name} | {len(run.history['epochs'])} | {100 * run.accuracy:.1f} % | {run.extract_s / 60:.1f} min "
        f"| {run.train_s / 60:.1f} min | {run.cpu_s / 60:.1f} min |"
    )


def resolve(found: dict[str, TrainingRun]) -> None:
    """Says by how much transfer is ahead, where both sides were run."""
    if {"full", "scratch"} <= set(found):
        ahead = 100 * (found["full"].accuracy - found["scratch"].accuracy)
        verdict = "as demanded" if ahead >= MARGIN_POINTS else "NOT enough"
        print(
            f"\nfull fine-tuning is {ahead:.1f} points ahead of the network from scratch: {verdict} ({MARGIN_POINTS:g})"
        )


if __name__ == "__main__":
    main()
