"""What fusions, modality dropout, a shared projection, contrastive loss, small heads bring: avdigits, the same seeds for all.

    python -m benchmarks.fusions [--data MANIFEST] [--epochs 12] [--seeds 3] [--set KEY=VALUE]... [--only "concat;late"]
                                 [--store DIR]

Evaluated on the test rows, each of which has a picture and a sound: with both, and with one of them missing. One thread, so
that the same command gives the same figures anywhere. Ingest and extraction are done once, training for every row. With
`--store` a broken run goes on where it was, and its table holds what has been trained so far.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import TINY, machine
from benchmarks.training_run import TrainingRun, train_and_evaluate

DATA = Path(__file__).parents[2] / "shared/data/avdigits/manifest.csv"
SUBSETS = {"picture and sound": "image+audio", "sound missing": "image", "picture missing": "audio"}

VARIANTS: dict[str, tuple[str, ...]] = {
    "concat": (),
    "gated": ("fusion.kind=gated",),
    "attention": ("fusion.kind=attention",),
    "bilinear": ("fusion.kind=bilinear",),
    "late": ("fusion.kind=late",),
    "concat, no modality dropout": ("fusion.modality_dropout=0",),
    "attention, no modality dropout": ("fusion.kind=attention", "fusion.modality_dropout=0"),
    "concat, shared projection": ("fusion.shared_projection=true",),
    "concat, contrastive 0.1": ("train.contrastive_weight=0.1",),
    "concat, truncated-normal heads": ("fusion.head_init=truncated-normal",),
}


def main() -> None:
    """Prints a table: each variant over the seeds."""
    parser = argparse.ArgumentParser(description="Ways of joining modalities")
    parser.add_argument("--data", default=str(DATA), help="a manifest of pictures with sound")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="names of rows, with semicolons between")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the config, for all rows")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch"), flush=True)
    chosen = options.only.split(";") if options.only else list(VARIANTS)
    found: dict[str, list[TrainingRun]] = {}
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        for seed in range(options.seeds):
            for name, change in VARIANTS.items():
                if name not in chosen:
                    continue
                settings = [
                    "train.threads=1",
                    f"train.epochs={options.epochs}",
                    f"seed={seed}",
                    *TINY,
                    *options.set,
                    *change,
                ]
                found.setdefault(name, []).append(train_and_evaluate(options.data, settings, store))
                print(f"seed {seed}, {name}: {points([found[name][-1]])}", flush=True)
    print(table(found))


def points(runs: Sequence[TrainingRun]) -> str:
    """Accuracy in points with everything and with one modality missing: the mean, and ± the deviation over the seeds."""
    cells = []
    for subset in SUBSETS.values():
        values = [100 * run.accuracy_of(subset) for run in runs]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.1f}{spread}")
    return " | ".join(cells)


def table(found: Mapping[str, Sequence[TrainingRun]]) -> str:
    """Markdown, a line for every variant."""
    lines = [f"| fusion | {' | '.join(SUBSETS)} | weights |", "|---" * (len(SUBSETS) + 2) + "|"]
    for name, runs in found.items():
        lines.append(f"| {name} | {points(runs)} | {runs[0].history['parameters']:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
