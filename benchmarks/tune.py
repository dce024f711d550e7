"""What a search over settings brings: 30 trials on two sets of data, against the settings as they are.

    python -m benchmarks.tune [--only cifar10_12k,avdigits] [--trials 30] [--store DIR]

`cifar10_12k`: 9,000 CIFAR-10 pictures, a frozen mobilenet_v2 at 96 px, the head trained for 10 epochs. `avdigits`: 400 rows of
pictures and sounds, `tiny` encoders, 3 epochs. The space is the default one, one thread trains. Printed: the validation score
before and after, and the paired difference on test rows, which no trial saw. With --store a broken run goes on; the minutes
are then those of what was left to do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import TINY, Timing, machine, time_command
from data_contracts.run_summary import TuneSummary

WEIGHTS = "../shared/weights/mobilenet_v2-imagenet.safetensors"
SETS = {
    "cifar10_12k": (
        f"encoders.image=torchvision:mobilenet_v2@{Path(WEIGHTS).resolve()}",
        "encoders.image_px=96",
        "train.epochs=10",
    ),
    "avdigits": (*TINY, "data.max_rows=400", "train.epochs=3"),
}


def main() -> None:
    """Prints a table, one line a set of data."""
    parser = argparse.ArgumentParser(description="What a search over settings brings")
    parser.add_argument("--only", default=",".join(SETS), help="names of sets, with commas between")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--data", default="../shared/data", help="the folder of the sets")
    parser.add_argument("--store", help="keep what is computed here")
    options = parser.parse_args()
    print(machine("torch", "optuna"), flush=True)
    print("\n| data | metric | validation, before | best | test: best minus before | trials | CPU |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with ExitStack() as stack:
        store = Path(options.store or stack.enter_context(tempfile.TemporaryDirectory()))
        for name in options.only.split(","):
            print(line(name, search(name, Path(options.data), store / name, options.trials)), flush=True)


def search(name: str, data: Path, store: Path, trials: int) -> Timing:
    """One search, from the manifest to the report."""
    settings = [f"--set={text}" for text in (*SETS[name], "train.threads=1")]
    place = ["--data", str(data / name / "manifest.csv"), "--store", str(store)]
    command = [sys.executable, "-m", "flows", "tune", *place, "--trials", str(trials), "--json", *settings]
    return time_command(command, {"OMP_NUM_THREADS": "1"})


def line(name: str, timing: Timing) -> str:
    """One row of the table."""
    found = TuneSummary.model_validate(timing.summary["tune"])
    counts = ", ".join(f"{count} {state}" for state, count in found.trials.items() if count)
    apart = found.test_difference.get(found.metric)
    shown = "0 (the settings stay)" if apart is None else f"{apart[0]:+.3f} [{apart[1]:+.3f}, {apart[2]:+.3f}]"
    return (
        f"| {name} | {found.metric} | {found.defaults:.4f} | {found.best:.4f} | {shown} | {counts} "
        f"| {timing.cpu_s / 60:.1f} min |"
    )


if __name__ == "__main__":
    main()
