"""One encoder for two columns of pictures, or one for each: pairs of digits, the same seeds for both.

    python -m benchmarks.shared_encoder [--data FOLDER] [--pairs 500 2000] [--epochs 15] [--seeds 3] [--set KEY=VALUE]...
                                        [--store DIR]

Every row holds two of avdigits' pictures (`image` and `image_2`), drawn within their split, and its label is the larger of
the two digits: each picture only tells something of it, both together all. The tiny encoder, from scratch; one that is
shared sees twice as many pictures an epoch. Evaluated on 1,000 test pairs. One thread, so that the same command gives the
same figures anywhere; CPU seconds hold the start of the training process.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import TINY, machine
from benchmarks.training_run import TrainingRun, train_and_evaluate

DATA = Path(__file__).parents[2] / "shared/data/avdigits"
VARIANTS: dict[str, tuple[str, ...]] = {"one for each": (), "shared": ('encoders.shared=["image"]',)}
SUBSETS = {"both": "image+image_2", "the first alone": "image", "the second alone": "image_2"}
VAL_PAIRS, TEST_PAIRS = 300, 1000


def main() -> None:
    """Prints a table: one encoder for both columns, and one for each, over the numbers of training pairs."""
    parser = argparse.ArgumentParser(description="An encoder shared by two inputs against one for each")
    parser.add_argument("--data", default=str(DATA), help="the folder of avdigits")
    parser.add_argument("--pairs", type=int, nargs="+", default=[500, 2000], help="training rows")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of every training")
    parser.add_argument("--store", help="keep what is computed here; a broken run goes on from it")
    options = parser.parse_args()
    print(machine("torch"), flush=True)
    print(f"\n| training pairs | encoder | {' | '.join(SUBSETS)} | weights | CPU |\n{'|---' * (len(SUBSETS) + 4)}|")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store, data = Path(options.store) if options.store else folder / "store", Path(options.data).resolve()
        common = ["train.threads=1", f"train.epochs={options.epochs}", f'data.allowed_roots=["{data}"]']
        common += [*TINY, *options.set]
        for pairs in options.pairs:
            manifest = write_pairs(data, folder / f"pairs-{pairs}.csv", pairs)
            for name, change in VARIANTS.items():
                runs = [
                    train_and_evaluate(str(manifest), [*common, *change, f"seed={seed}"], store)
                    for seed in range(options.seeds)
                ]
                print(line(pairs, name, runs), flush=True)


def write_pairs(data: Path, target: Path, pairs: int) -> Path:
    """A manifest of pairs of the folder's pictures; the same arguments give the same rows, no pair twice."""
    by_split: dict[str, list[tuple[str, str]]] = {}
    with (data / "manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            by_split.setdefault(row["split"], []).append((row["image_path"], row["label"]))
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "image_2", "label", "split"])
        for split, count in (("train", pairs), ("validation", VAL_PAIRS), ("test", TEST_PAIRS)):
            draw, known = random.Random(f"{split} {pairs}"), set[tuple[str, str]]()
            while len(known) < count:
                (one, first), (other, second) = draw.sample(by_split[split], 2)
                if (one, other) not in known:
                    known.add((one, other))
                    name = f"{split}-{len(known):05}"
                    writer.writerow([name, data / one, data / other, max(first, second), split])
    return target


def line(pairs: int, name: str, runs: Sequence[TrainingRun]) -> str:
    """One row of the table: accuracy in points, mean and deviation over the seeds; weights; mean CPU seconds."""
    cells = [_spread([100 * run.accuracy_of(subset) for run in runs]) for subset in SUBSETS.values()]
    cpu_s = statistics.mean(run.cpu_s for run in runs)
    return f"| {pairs:,} | {name} | {' | '.join(cells)} | {runs[0].history['parameters']:,} | {cpu_s:.0f} s |"


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


if __name__ == "__main__":
    main()
