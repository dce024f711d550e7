"""What it takes to load the flow and the command line, beside loading Prefect or a bare interpreter.

    python -m benchmarks.loading [--runs 5]

Whole processes from outside, taking turns, with warm file caches (one turn before the first is not counted); medians. The
ratio is the median of the turns' ratios, so what else the machine does weighs on both sides.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.measure import Timing, machine, median, time_command

PEERS = {
    "import flows.retrain": "from prefect import flow, task",
    "import flows.cli": "import numpy, pyarrow, PIL, pydantic",
    "import crossmodal": "import numpy, pyarrow, PIL, pydantic",
}


def main() -> None:
    """Prints the CPU seconds of loading ours and its peers, and their ratios."""
    parser = argparse.ArgumentParser(description="What loading takes")
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print(machine("prefect", "pydantic", "numpy"))
    statements = [*PEERS, *dict.fromkeys(PEERS.values())]
    timings: dict[str, list[Timing]] = {statement: [] for statement in statements}
    for _ in range(runs + 1):
        for statement in statements:
            timings[statement].append(time_command([sys.executable, "-c", statement]))
    print(f"CPU seconds, medians of {runs}")
    for ours, peer in PEERS.items():
        one, other = ([timing.cpu_s for timing in timings[statement][1:]] for statement in (ours, peer))
        ratio = median([a / b for a, b in zip(one, other, strict=True)])
        print(f"  {ours:22} {median(one):6.2f}   {peer:38} {median(other):6.2f}   ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
