"""Pictures with words: mobilenet_v2 and MiniLM, frozen, fused; against either alone.

    python -m benchmarks.captions [--px 96] [--seeds 1] [--store DIR]

The manifest is made from CIFAR-10 pictures: each gets a caption from a template, and half of the captions do not name the
class. So words only can reach 55 %, and a picture only what its frozen features allow. The fused model must be above
both, each trained alone with the same settings, and its interval above theirs. Every caption ends with a number of its own:
without pictures, equal captions of different classes would be conflicts, and refused.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.training_run import TrainingRun, train_and_evaluate

NETWORK = "torchvision:mobilenet_v2"
NAMING = (
    "a small picture of one {}, seen from the side",
    "{}, centre of the frame, colours as they were",
    "somebody's photograph: it shows the {} that everyone talked about",
    "thirty-two pixels are enough for a {}",
    "what you see here is a {}",
)
HIDDEN = (
    "a small picture, seen from the side",
    "centre of the frame, colours as they were",
    "somebody's photograph: it shows what everyone talked about",
    "thirty-two pixels are enough for this",
    "what you see here speaks for itself",
)


def main() -> None:
    """Prints a table: both modalities fused, and either alone."""
    parser = argparse.ArgumentParser(description="Fused against either modality alone")
    parser.add_argument("--data", default="../shared/data/cifar10_12k")
    parser.add_argument("--weights", default="../shared/weights")
    parser.add_argument("--px", type=int, default=96, help="side of the pictures as the network sees them")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sample", type=int, help="only so many rows")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every training")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch", "torchvision", "transformers"), flush=True)
    weights = Path(options.weights).resolve()
    image = f"encoders.image={NETWORK}@{weights / 'mobilenet_v2-imagenet.safetensors'}"
    text = f"encoders.text=hf:{weights / 'minilm'}"
    settings = [f"encoders.image_px={options.px}", f'data.allowed_roots=["{Path(options.data).resolve()}"]']
    settings += [
        "split.near_duplicates=false",
        *options.set,
        *([f"data.max_rows={options.sample}"] if options.sample else []),
    ]
    rows = {
        "picture and words": [image, text],
        "picture only": [image, "encoders.text=off"],
        "words only": [text, "encoders.image=off"],
    }
    print(
        "\n| trained on | seed | test accuracy (95 %) | macro F1 | logistic regression, same features |\n|---|---|---|---|---|"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = Path(options.store) if options.store else folder / "store"
        manifest = write_manifest(Path(options.data).resolve(), folder / "captions.csv")
        ahead = True
        for seed in range(options.seeds):
            found: dict[str, TrainingRun] = {}
            for name, encoders in rows.items():
                found[name] = train_and_evaluate(str(manifest), [*settings, *encoders, f"seed={seed}"], store)
                print(line(name, seed, found[name]), flush=True)
            fused, *single = found.values()
            ahead &= all(
                fused.report.intervals["accuracy"][0] > each.report.intervals["accuracy"][1] for each in single
            )
            accuracies = ", ".join(f"{name} {100 * fused.accuracy_of(name):.1f} %" for name in ("image", "text"))
            print(f"\nthe fused model given one of them only: {accuracies}\n")
    print("fused above both, intervals apart" if ahead else "NOT above both")


def write_manifest(data: Path, target: Path) -> Path:
    """The pictures' own manifest with a caption to each; the same rows get the same captions."""
    with (data / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text", "label", "split"])
        for row in rows:
            name, label = row["sample_id"], row["label"]
            writer.writerow([name, data / row["image_path"], caption(name, label), label, row["split"]])
    return target


def caption(name: str, label: str) -> str:
    """A template filled with the class, or in one of two cases one that does not name it, by a hash of the id."""
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
    templates = NAMING if draw % 2 else HIDDEN
    return f"{templates[draw // 2 % len(templates)].format(label)} (no. {draw // 10 % 10**9})"


def line(name: str, seed: int, run: TrainingRun) -> str:
    """One row of the table."""
    low, high = run.report.intervals["accuracy"]
    test, linear_baseline = run.report.metrics["test"], run.report.linear_baseline
    linear = "–" if linear_baseline is None else f"{100 * (linear_baseline.metrics['accuracy'] or 0):.1f} %"
    return (
        f"| {name} | {seed} | {100 * run.accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f}) "
        f"| {100 * (test['macro_f1'] or 0):.1f} % | {linear} |"
    )


if __name__ == "__main__":
    main()
