"""Whether what is on by default earns its place: avdigits with one thing at a time switched off, the same seeds for all.

    python -m benchmarks.ablation [--data MANIFEST] [--epochs 10] [--seeds 3] [--only "no dropout"] [--store DIR]
        [--set KEY=VALUE ...]

Every row is the default with one change. Evaluated on the test rows with all modalities, and with one only; the
figure that decides is the mean difference to the default over the seeds, with its standard deviation. One thread, so that
the same command gives the same figures anywhere. Left out of the times: nothing of an epoch; ingest is done once.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import TINY, machine
from benchmarks.training_run import TrainingRun, train_and_evaluate

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "no averaging of weights": ("train.ema_decay=0",),
    "no auxiliary heads": ("train.unimodal_loss_weight=0",),
    "no augmentation": ("train.augment=false",),
    "no label smoothing": ("train.label_smoothing=0",),
    "no modality dropout": ("fusion.modality_dropout=0",),
    "no dropout": ("fusion.dropout=0",),
    "no weight decay": ("train.weight_decay=0",),
    "no warm-up": ("train.warmup_ratio=0",),
    "no clipping": ("train.max_grad_norm=1e9",),
}


def main() -> None:
    """Prints a table: the default and each variant, the mean over the seeds."""
    parser = argparse.ArgumentParser(description="What is on by default, switched off one by one")
    parser.add_argument("--data", default="../shared/data/avdigits/manifest.csv")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="names of rows beside the default, with commas between")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for every row, default included"
    )
    options = parser.parse_args()
    names = ["default", *options.only.split(",")] if options.only else list(VARIANTS)
    print(machine("torch"), *options.set, sep="; ", flush=True)
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        found: dict[str, list[TrainingRun]] = {}
        for seed in range(options.seeds):
            for name in names:
                settings = [
                    "train.threads=1",
                    f"train.epochs={options.epochs}",
                    f"seed={seed}",
                    *TINY,
                    *options.set,
                    *VARIANTS[name],
                ]
                found.setdefault(name, []).append(train_and_evaluate(options.data, settings, store))
                print(f"seed {seed}, {name}: {found[name][-1].accuracy:.4f}", flush=True)
    print(table(found))


def table(found: dict[str, list[TrainingRun]]) -> str:
    """Markdown: accuracy in points, mean and deviation over seeds, and the paired difference to the first row."""
    subsets = list(next(iter(found.values()))[0].report.by_modalities)
    subsets = sorted(subsets, key=lambda name: -name.count("+"))
    lines = [f"| | {' | '.join(subsets)} | difference: {' | '.join(subsets)} | s |"]
    lines.append("|---" * (2 * len(subsets) + 2) + "|")
    default = next(iter(found.values()))
    for name, runs in found.items():
        cells = [_spread([100 * run.accuracy_of(subset) for run in runs]) for subset in subsets]
        for subset in subsets:
            gains = [
                100 * (run.accuracy_of(subset) - base.accuracy_of(subset))
                for run, base in zip(runs, default, strict=True)
            ]
            cells.append("" if runs is default else _spread(gains, sign="+"))
        lines.append(f"| {name} | {' | '.join(cells)} | {statistics.mean(run.train_s for run in runs):.0f} |")
    return "\n".join(lines)


def _spread(values: Sequence[float], sign: str = "") -> str:
    """Mean ± standard deviation, where there are several."""
    mean = f"{statistics.mean(values):{sign}.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
