"""The best of several heads against the one head that is configured (train.heads = auto, single); or, with --vary flip,
answers by a picture and its mirror image against answers by the picture (encoders.test_time_flip = off, auto).

    python -m benchmarks.heads [--data cifar10|captions|avdigits|digits] [--vary heads|flip] [--px 160] [--layers auto]
        [--seeds 3] [--store DIR]

The two are trained in turns, seed by seed, on the same stored features, with one thread. Which head is kept is decided on the
validation rows; test figures are only printed. CPU seconds are those of the training stage with its process, its start
included; reading and embedding is left out. The goal is a ratio of 1.5 at most.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.captions import NETWORK, write_manifest
from benchmarks.measure import machine, median
from benchmarks.training_run import TrainingRun, train_and_evaluate

MOST_TIMES = 1.5
KINDS = {
    "heads": ("train.heads", ("single", "auto")),
    "flip": ("encoders.test_time_flip", ("off", "auto")),
}
"""What is varied: the setting, and its values, what is compared with first."""


def main() -> None:
    """Prints a row for each training, then the means and the ratio."""
    parser = argparse.ArgumentParser(description="The best of several heads against the configured one")
    parser.add_argument("--data", choices=("cifar10", "captions", "avdigits", "digits"), default="cifar10")
    parser.add_argument("--vary", choices=tuple(KINDS), default="heads")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data and weights")
    parser.add_argument("--px", type=int, default=160, help="side of the pictures as the network sees them")
    parser.add_argument("--layers", choices=("last", "auto"), default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every training")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch", "torchvision", "transformers"), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = Path(options.store) if options.store else folder / "store"
        data, settings = source(options.data, options.shared.resolve(), options.px, folder)
        settings += [f"encoders.layers={options.layers}", "train.threads=1", *options.set]
        key, kinds = KINDS[options.vary]
        for kind in kinds if options.vary == "flip" else kinds[:1]:  # what all will read
            train_and_evaluate(data, [*settings, f"{key}={kind}", "train.heads=single", "train.epochs=1"], store)
        print(
            f"\n| seed | {options.vary} | test accuracy (95 %) | macro F1 | val loss | epochs | CPU s | head | flip |\n"
            + "|---" * 9
            + "|"
        )
        found: dict[str, list[TrainingRun]] = {kind: [] for kind in kinds}
        for seed in range(options.seeds):
            for kind in kinds if seed % 2 == 0 else kinds[::-1]:
                run = train_and_evaluate(data, [*settings, f"{key}={kind}", f"seed={seed}"], store)
                found[kind].append(run)
                print(line(seed, kind, run), flush=True)
    summarize(found, kinds, ratio=options.vary == "heads")


def source(data: str, shared: Path, px: int, folder: Path) -> tuple[str, list[str]]:
    """The manifest, and the settings of its frozen encoders."""
    weights = shared / "weights"
    image = f"encoders.image={NETWORK}@{weights / 'mobilenet_v2-imagenet.safetensors'}"
    if data == "avdigits":
        manifest = shared / "data/avdigits/manifest.csv"
        return str(manifest), ["encoders.image=off", f"encoders.audio=hf:{weights / 'whisper-tiny-en'}"]
    if data == "digits":
        manifest = shared / "data/avdigits/manifest.csv"
        return str(manifest), [image, f"encoders.image_px={px}", "encoders.audio=off"]
    pictures = shared / "data/cifar10_12k"
    if data == "cifar10":
        return str(pictures / "manifest.csv"), [image, f"encoders.image_px={px}"]
    manifest = write_manifest(pictures, folder / "captions.csv")
    settings = [image, f"encoders.image_px={px}", f"encoders.text=hf:{weights / 'minilm'}"]
    return str(manifest), [*settings, f'data.allowed_roots=["{pictures}"]', "split.near_duplicates=false"]


def line(seed: int, kind: str, run: TrainingRun) -> str:
    """One row of the table."""
    low, high = run.report.intervals["accuracy"]
    history = run.history
    heads = history.get("heads", [])
    flip = history.get("test_time_flip")
    settings: dict[str, Any] = next((head["settings"] for head in heads if head["chosen"]), {})
    epochs = sum(head["epochs"] for head in heads) or len(history["epochs"])
    return (
        f"| {seed} | {kind} | {100 * run.accuracy:.2f} % ({100 * low:.1f} to {100 * high:.1f}) "
        f"| {100 * (run.report.metrics['test']['macro_f1'] or 0):.2f} % "
        f"| {history['epochs'][history['best_epoch'] - 1]['val_loss']:.4f} | {epochs} | {run.cpu_s:.1f} "
        f"| {', '.join(f'{key}={value}' for key, value in settings.items()) or 'as configured'} "
        f"| {'–' if flip is None else _tried(flip)} |"
    )


def _tried(flip: dict[str, Any]) -> str:
    """What the validation rows said of the mirror images."""
    if flip.get("why"):
        return f"no: {flip['why']}"
    losses = f"validation loss {flip['loss']:.4f} to {flip['flipped_loss']:.4f} (standard error {flip['standard_error']:.4f})"
    scores = f"{flip['metric']} {flip['score']:.4f} to {flip['flipped_score']:.4f}"
    return f"{'chosen' if flip['used'] else 'not chosen'}: {losses}, {scores}"


def summarize(found: dict[str, list[TrainingRun]], kinds: Sequence[str], ratio: bool) -> None:
    """The means over the seeds, and what the search costs."""
    means = [100 * sum(run.accuracy for run in found[kind]) / len(found[kind]) for kind in kinds]
    for kind, mean in zip(kinds, means, strict=True):
        print(f"{kind} {mean:.2f} %: {mean - means[0]:+.2f} points")
    if not ratio:
        return
    single, auto = (found[kind] for kind in kinds)
    times = median([several.cpu_s / one.cpu_s for one, several in zip(single, auto, strict=True)])
    verdict = "as demanded" if times <= MOST_TIMES else "NOT as demanded"
    print(f"CPU seconds, median of the seeds: {times:.2f} x ({verdict}: {MOST_TIMES:g} at most)")


if __name__ == "__main__":
    main()
