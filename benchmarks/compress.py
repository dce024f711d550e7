"""What compressed models cost and are worth: mobilenet_v2 on CIFAR-10 pictures, and pictures with captions read by MiniLM.

    python -m benchmarks.compress [--data cifar10_12k|captions] [--methods int8,onnx-int8] [--px 96] [--store DIR]
    python -m benchmarks.compress --methods distill --set train.epochs=10

Each model is trained as `crossmodal retrain` trains it (frozen encoders, 10 epochs) and compressed as `crossmodal compress`
does it, with a margin of one point in accuracy. Both pass through the same store, so a run that was broken goes on. Times are
medians on one thread, from decoded media to answer, the compressed model in turns with the original.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.captions import write_manifest
from benchmarks.measure import machine
from data_contracts.compression import COMPRESS, CompressReport
from flows.compress_request import Asked, make_compression
from flows.compressing import compress_model
from flows.environment import new_run_id
from flows.execute import execute
from flows.request import make_request, resolve_config
from flows.stages import Stages

LEAST_SMALLER, LEAST_FASTER, MOST_LOST = 3.0, 2.0, 0.01
"""What at least one method must reach: one of the first two, and at most so much less accuracy."""


def main() -> None:
    """Prints a table a data set."""
    parser = argparse.ArgumentParser(description="Compressed models against their originals")
    parser.add_argument("--data", choices=["cifar10_12k", "captions"], action="append", help="default: both")
    parser.add_argument("--pictures", default="../shared/data/cifar10_12k")
    parser.add_argument("--weights", default="../shared/weights")
    parser.add_argument("--methods", default="", help="default: all that can be")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of what compress trains")
    parser.add_argument("--px", type=int, default=96, help="side of the pictures as the network sees them")
    parser.add_argument("--sample", type=int, help="only so many rows")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch", "torchvision", "transformers", "onnx", "onnxruntime"), flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = Path(options.store) if options.store else folder / "store"
        reached = [
            show(name, measure(name, options, store, folder)) for name in options.data or ["cifar10_12k", "captions"]
        ]
    print("reached" if all(reached) else "NOT reached")


def measure(name: str, options: argparse.Namespace, store: Path, folder: Path) -> CompressReport:
    """The model is in the store's registry; what compressing it came to."""
    pictures, weights = Path(options.pictures).resolve(), Path(options.weights).resolve()
    settings = [
        f"name={name}",
        f"encoders.image=torchvision:mobilenet_v2@{weights / 'mobilenet_v2-imagenet.safetensors'}",
        f"encoders.image_px={options.px}",
        f'data.allowed_roots=["{pictures}"]',
        "split.near_duplicates=false",
        "train.threads=1",
        "train.epochs=10",
        "gate.metric=accuracy",
        f"gate.margin={MOST_LOST}",
        *([f"data.max_rows={options.sample}"] if options.sample else []),
    ]
    data = pictures / "manifest.csv"
    if name == "captions":
        store.mkdir(parents=True, exist_ok=True)
        data = write_manifest(pictures, store / "captions.csv")
        settings.append(f"encoders.text=hf:{weights / 'minilm'}")
    config = resolve_config(None, str(data), settings)
    execute(make_request(config, str(store), None, new_run_id()), Stages())
    place = make_request(config, str(store), None, new_run_id())
    methods = [options.methods] if options.methods else []
    compression = make_compression(Asked(name, methods, overrides=options.set), place)
    compress_model(compression)
    return CompressReport.model_validate_json((compression.request.folder / COMPRESS).read_bytes())


def show(name: str, report: CompressReport) -> bool:
    """The table is printed; whether a method reaches what it must."""
    latency = next(each.latency for each in report.results if each.latency)
    accuracy = report.metrics["accuracy"] or 0.0
    print(f"\n{name}: {report.test_rows:,} test rows, {latency.batch_rows} rows a batch\n")
    head = ["model", "MB", "smaller", "ms, a row", "faster", "ms, a batch", "faster", "accuracy"]
    print(f"| {' | '.join([*head, 'difference [95 %], points', 'ECE', 'gate'])} |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    print(
        f"| original | {report.size_bytes / 1e6:.2f} | | {latency.original_row_ms:.2f} | | {latency.original_batch_ms:.1f} | "
        f"| {100 * accuracy:.1f} % | | {report.metrics['ece']:.3f} | |"
    )
    reached = False
    for each in report.results:
        if each.latency is None:
            print(f"| {each.method} | not possible: {each.reason} |")
            continue
        value, low, high = each.differences["accuracy"]
        smaller, latency = report.smaller(each) or 0.0, each.latency
        reached |= (smaller >= LEAST_SMALLER or latency.row_ratio >= LEAST_FASTER) and value >= -MOST_LOST
        print(
            f"| {each.method} | {(each.size_bytes or 0) / 1e6:.2f} | {smaller:.1f}x | {latency.row_ms:.2f} | "
            f"{latency.row_ratio:.1f}x | {latency.batch_ms:.1f} | {latency.batch_ratio:.1f}x | "
            f"{100 * (each.metrics['accuracy'] or 0):.1f} % | {100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}] | "
            f"{each.metrics['ece']:.3f} | {each.decision} |"
        )
    return reached


if __name__ == "__main__":
    main()
