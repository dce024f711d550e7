"""Attacks on `crossmodal retrain --plain`, and how each ended: python -m benchmarks.chaos [--seed 0] [ATTACK=COUNT …].

    python -m benchmarks.chaos kills=100 publish_kills=44 at_once=20 full_disks=16 flips=1000

An attack's table has how often each outcome came; whatever is wrong is printed in full, and ends the benchmark with 1. Those
on `crossmodal up`, with Prefect's server and worker as processes of their own: python -m benchmarks.chaos.up.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.chaos import attacks
from benchmarks.chaos.forked import load_libraries
from benchmarks.chaos.trial import Trial, make_trial
from benchmarks.measure import machine

ATTACKS = {"kills": 100, "publish_kills": 44, "at_once": 20, "full_disks": 16, "flips": 1000}
"""Attack to how many attempts by default."""


def main() -> None:
    """Prints a line for every attack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attacks", nargs="*", default=[f"{name}={count}" for name, count in ATTACKS.items()])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="a line for every attempt")
    options = parser.parse_args()
    chosen = [(name, int(count or ATTACKS[name])) for name, _, count in (one.partition("=") for one in options.attacks)]
    load_libraries()
    print(machine("torch", "mlflow", "pyarrow"), f"seed {options.seed}", flush=True)
    print("| attack | outcomes | wrong | s |\n|---|---|---|---|", flush=True)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        trial = make_trial(Path(folder))
        for name, count in chosen:
            failed += attack(name, count, trial, random.Random(f"{name} {options.seed}"), options.verbose)
        left = attacks.count_processes(trial)
    print(f"\nprocesses left behind: {left}")
    sys.exit(bool(failed or left))


def attack(name: str, count: int, trial: Trial, draw: random.Random, verbose: bool) -> int:
    """Prints the attack's line; how many attempts ended wrongly."""
    start, outcomes, wrong = time.perf_counter(), Counter[str](), []
    for attempt in getattr(attacks, name)(trial, count, draw):
        outcomes[attempt.outcome] += 1
        if attempt.wrong:
            wrong.append(attempt)
        if verbose or attempt.wrong:
            print(f"  {attempt.what}: {attempt.wrong or attempt.outcome}", file=sys.stderr, flush=True)
    shown = ", ".join(f"{outcome} {times}" for outcome, times in outcomes.most_common())
    print(f"| {name} {count} | {shown} | {len(wrong)} | {time.perf_counter() - start:.0f} |", flush=True)
    return len(wrong)


if __name__ == "__main__":
    main()
