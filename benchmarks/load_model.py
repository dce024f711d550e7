"""What `crossmodal.load` takes, beside `import torch` on the same machine: python -m benchmarks.load_model STORE NAME"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 5


def median_s(code: str, *arguments: str) -> float:
    """The median wall time of a fresh process that runs the code, in seconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main(store: str, name: str) -> None:
    """Prints the medians of loading a model of the store and of `import torch`, and their ratio."""
    load = "import sys, crossmodal; crossmodal.load(sys.argv[2], store=sys.argv[1])"
    ours, peer = median_s(load, store, name), median_s("import torch")
    print(f"crossmodal.load {ours:.2f} s, import torch {peer:.2f} s, ratio {ours / peer:.2f} (median of {ROUNDS})")


if __name__ == "__main__":
    main(*sys.argv[1:3])
