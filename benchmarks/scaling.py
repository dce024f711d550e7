"""Three searches whose cost must not grow with the square of the rows, each beside the plain way to the same answer.

    python -m benchmarks.scaling [--runs 3]

CPU seconds in this process, taking turns, medians. Peers: scikit-learn's macro F1 on each of a hundred resamples (ours
takes all figures of a thousand; per resample); scikit-learn's macro F1 at each offset of a grid of 41 per class, one round
(ours tries every offset that changes anything, in up to ten); numpy's comparison of all pairs of codes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from benchmarks.measure import machine, median
from tasks.media.near_duplicates.candidates import similar_codes
from tasks.problems.multiclass_metrics import score_classes
from tasks.problems.scoring import RESAMPLES
from tasks.train.thresholds import coordinate_search

PEER_RESAMPLES = 100


def probabilities(rows: int, classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(rows, classes) probabilities and the classes they are about."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, classes, rows)
    weights = np.exp(rng.normal(size=(rows, classes)) + 3 * np.eye(classes)[truth])
    return weights / weights.sum(axis=1, keepdims=True), truth


def resample_plainly(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> None:
    """Macro F1 on PEER_RESAMPLES resamples, each by scikit-learn. probabilities: (N, classes), truth: (N,)"""
    answers, rng = probabilities.argmax(axis=1), np.random.default_rng(0)
    for _ in range(PEER_RESAMPLES):
        rows = rng.integers(0, len(truth), len(truth))
        f1_score(truth[rows], answers[rows], average="macro", zero_division=0)


def tune_plainly(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> None:
    """An offset a class by a grid of 41 values, each scored by scikit-learn. probabilities: (N, classes), truth: (N,)"""
    offsets = np.zeros(probabilities.shape[1])
    logs = np.log(probabilities)

    grid = np.linspace(-5, 5, 41)
    for c in range(len(offsets)):
        moved = [logs + np.where(np.arange(len(offsets)) == c, value, offsets) for value in grid]
        reached = [f1_score(truth, scores.argmax(axis=1), average="macro", zero_division=0) for scores in moved]
        offsets[c] = grid[int(np.argmax(reached))]


def compare_all(codes: NDArray[np.uint64], distance: int) -> int:
    """Number of pairs of 64-bit codes (N,) that differ in at most `distance` bits, all compared with all."""
    return sum(int((np.bitwise_count(codes[place + 1 :] ^ code) <= distance).sum()) for place, code in enumerate(codes))


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds that the work takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Prints the CPU seconds of each search and of the plain way, and their ratio."""
    parser = argparse.ArgumentParser(description="Searches beside the plain way to the same answer")
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    print(machine("numpy", "scikit-learn"))
    rows, few = probabilities(10_000, 10), probabilities(1_000, 50)
    codes = np.random.default_rng(0).integers(0, 2**63, 20_000, dtype=np.uint64)
    share = PEER_RESAMPLES / RESAMPLES
    cases: dict[str, tuple[Callable[[], object], Callable[[], object], float]] = {
        "intervals, 10,000 rows, 100 resamples": (
            lambda: score_classes(*rows).intervals(seed=0),
            lambda: resample_plainly(*rows),
            share,
        ),
        "offsets, 1,000 rows, 50 classes": (lambda: coordinate_search(*few), lambda: tune_plainly(*few), 1.0),
        "near codes among 20,000": (lambda: similar_codes(codes, 6), lambda: compare_all(codes, 6), 1.0),
    }
    print(f"CPU seconds, medians of {runs}")
    for name, (ours, plain, part) in cases.items():
        turns = [(cpu_s(ours) * part, cpu_s(plain)) for _ in range(runs)]
        ratio = median([one / other for one, other in turns])
        one, other = (median(column) for column in zip(*turns, strict=True))
        print(f"  {name:40} ours {one:6.2f}   plain {other:6.2f}   ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
