"""What a retrain adds to a store: the first one, a changed one that is published, an unchanged one. On disk, by inode, so that
a file with several names counts once; with the size of the model beside it.

    python -m benchmarks.store_growth [--epochs 3] [--store FOLDER] [--data MANIFEST]

The digits profile, or other data under the default settings, `--plain`. A changed retrain has another learning rate, and a gate
that lets it through. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import TINY
from tasks.retention.inventory import DiskUsage

PASSING = ("gate.margin=1", "gate.slice_alpha=0", "gate.min_rows=1", 'gate.rules=[{"metric": "accuracy", "min": 0}]')


def measure(store: Path) -> Counter[str]:
    """Folder of the store, two levels deep in those of runs and models, to its bytes on disk."""
    usage, found = DiskUsage(), Counter[str]()
    for path in sorted(store.iterdir(), key=lambda one: (one.name == "mlartifacts", one.name)):
        inner = sorted(path.rglob("*")) if path.is_dir() else []
        for place in (*inner, path):
            if not place.is_dir() or place == path:
                found[_group(place.relative_to(store))] += usage.of(place)
    return found


def _group(path: Path) -> str:
    """What a file counts to: its kind, and its name where it is a run's."""
    if path.parts[0] == "runs" and len(path.parts) > 2:
        return f"runs/*/{path.parts[2]}"
    if path.parts[0] == "mlartifacts" and len(path.parts) > 4:
        return f"mlartifacts/*/{path.parts[4]}"
    return path.parts[0]


def retrain(store: Path, data: Sequence[str], epochs: int, learning_rate: float) -> str:
    """The verdict of a retrain."""
    command = [sys.executable, "-m", "flows", "retrain", *data, "--plain", "--json", "--store", str(store)]
    for setting in (f"train.epochs={epochs}", f"train.learning_rate={learning_rate}", *TINY, *PASSING):
        command += ["--set", setting]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return str(json.loads(done.stdout.splitlines()[-1])["verdict"])


def main() -> None:
    """Prints a line for each retrain and, below it, what grew by more than 4 kB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--data")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = arguments.store or Path(scratch) / "store"
        data = ["--data", arguments.data] if arguments.data else ["--profile", "digits"]
        before = Counter[str]()
        for name, rate in (("first", 2e-3), ("changed", 1.9e-3), ("changed", 1.8e-3), *2 * [("unchanged", 1.8e-3)]):
            verdict = retrain(store, data, arguments.epochs, rate)
            now = measure(store)
            grown = {group: size - before[group] for group, size in now.items() if size != before[group]}
            print(f"{name:<10} {verdict:<10} {sum(grown.values()) / 1e6:8.3f} MB")
            for group, size in sorted(grown.items(), key=lambda pair: -abs(pair[1])):
                if abs(size) > 4096:
                    print(f"    {size / 1e3:10.1f} kB  {group}")
            before = now
        weights = max(path.stat().st_size for path in (store / "checkpoints").glob("*/model.safetensors"))
        print(f"model      {weights / 1e6:.3f} MB; 1.5 times it and 0.3 MB: {1.5 * weights / 1e6 + 0.3:.3f} MB")


if __name__ == "__main__":
    main()
