"""How often drift is found: where there is none, and by how far and on how many rows the data have shifted.

    python -m benchmarks.drift [--resamples 200] [--repeats 20] [--picture docs/drift.png]

scikit-learn's 1,797 digits (8 x 8): 500 train a logistic regression, from the rest 512 are the reference and others, drawn
without replacement, the new rows. Compared are nine things: sides, brightness, contrast, missing pictures, labels, predictions,
confidence and the 64 pixels as embedding. A shift counts as found when any test says drift. Left out: reading and embedding.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import machine
from data_contracts.refs import DriftTest
from tasks.config_sections import MonitorConfig
from tasks.modalities import MODALITIES
from tasks.modeling.profile import Profile
from tasks.monitor.compare import compare_profiles

REFERENCE = 512
NEW = (50, 100, 200, 500)
STATED = 500
Rng = np.random.Generator


@dataclass(frozen=True)
class Digits:
    """Pictures that the model was not trained on, and the model."""

    pixels: NDArray[np.float64]
    """(N, 8, 8) in [0, 1]"""
    labels: NDArray[np.int64]
    model: Any


@dataclass(frozen=True)
class Rows:
    """Some of them."""

    pixels: NDArray[np.float64]
    labels: NDArray[np.int64]
    missing: NDArray[np.bool_]


Shift = Callable[[Rows, float, Rng], Rows]


def darker(rows: Rows, strength: float, rng: Rng) -> Rows:
    """Every pixel is darker by this share."""
    return Rows(rows.pixels * (1 - strength), rows.labels, rows.missing)


def noisier(rows: Rows, strength: float, rng: Rng) -> Rows:
    """Every pixel has Gaussian noise of this standard deviation added, and stays in [0, 1]."""
    noise = rng.normal(0, strength, rows.pixels.shape)
    return Rows(np.clip(rows.pixels + noise, 0, 1), rows.labels, rows.missing)


def moved(rows: Rows, strength: float, rng: Rng) -> Rows:
    """So many of the pictures stand one pixel further to the right."""
    chosen = rng.random(len(rows.pixels)) < strength
    pixels = rows.pixels.copy()
    pixels[chosen] = np.roll(pixels[chosen], 1, axis=2)
    return Rows(pixels, rows.labels, rows.missing)


def lost(rows: Rows, strength: float, rng: Rng) -> Rows:
    """So many more of the rows have lost their picture."""
    return Rows(rows.pixels, rows.labels, rows.missing | (rng.random(len(rows.labels)) < strength))


def more_zeros(rows: Rows, strength: float, rng: Rng) -> Rows:
    """So many of the rows are replaced by rows of the digit 0."""
    zeros = np.flatnonzero(rows.labels == 0)
    place = np.where(
        rng.random(len(rows.labels)) < strength, rng.choice(zeros, len(rows.labels)), range(len(rows.labels))
    )
    return Rows(rows.pixels[place], rows.labels[place], rows.missing)


SHIFTS: dict[str, tuple[Shift, tuple[float, ...], float]] = {
    "pictures darker by": (darker, (0.01, 0.02, 0.03, 0.05), 0.05),
    "noise of (sd)": (noisier, (0.02, 0.03, 0.04, 0.05), 0.05),
    "moved by a pixel, share": (moved, (0.1, 0.15, 0.2, 0.3), 0.3),
    "pictures missing, share": (lost, (0.05, 0.1, 0.12, 0.15), 0.15),
    "replaced by zeros, share": (more_zeros, (0.1, 0.15, 0.2, 0.25), 0.25),
}
"""Name to the shift, its strengths, and the stated one, which must be found in 90 % of the tries at 500 new rows."""


def read_digits() -> Digits:
    """scikit-learn's digits: a logistic regression is fitted on 500 of them, the others are to draw from."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels, labels = pixels[order] / 16, labels[order].astype(np.int64)
    model = LogisticRegression(max_iter=2000).fit(pixels[:500], labels[:500])
    return Digits(pixels[500:].reshape(-1, 8, 8), labels[500:], model)


def draw(digits: Digits, count: int, rng: Rng) -> tuple[Rows, Rows]:
    """Reference and new rows, none in both."""
    order = rng.permutation(len(digits.labels))[: REFERENCE + count]
    halves = order[:REFERENCE], order[REFERENCE:]
    first, second = (Rows(digits.pixels[rows], digits.labels[rows], np.zeros(len(rows), bool)) for rows in halves)
    return first, second


def profile(rows: Rows, model: Any) -> Profile:
    """What the monitor compares: counts of categories and (N,) numbers, the model's answers among them."""
    here = ~rows.missing
    pictures = np.repeat((rows.pixels[here] * 255).astype(np.uint8)[..., None], 3, axis=-1)
    measured = [MODALITIES["image"].measure(picture, 0) for picture in pictures]
    chances = model.predict_proba(rows.pixels.reshape(-1, 64))
    return Profile(
        categories={
            "image missing": {"missing": int(rows.missing.sum()), "present": int(here.sum())},
            "label": dict(Counter(map(str, rows.labels))),
            "prediction": dict(Counter(map(str, chances.argmax(axis=1)))),
        },
        numbers={
            "confidence": chances.max(axis=1).astype(np.float32),
            **{f"image {name}": np.array([each[name] for each in measured], np.float32) for name in measured[0]},
        },
        embeddings={"image embedding": rows.pixels[here].reshape(-1, 64).astype(np.float16)},
    )


def compare(digits: Digits, count: int, seed: int, shift: Callable[[Rows, Rng], Rows]) -> tuple[DriftTest, ...]:
    """The tests of REFERENCE rows against `count` shifted ones, drawn by the seed."""
    rng = np.random.default_rng(seed)
    reference, new = draw(digits, count, rng)
    sides = profile(reference, digits.model), profile(shift(new, rng), digits.model)
    return compare_profiles(*sides, MonitorConfig(), seed)


def same(rows: Rows, rng: Rng) -> Rows:
    """No shift."""
    return rows


def false_alarms(digits: Digits, resamples: int) -> None:
    """Prints how often drift is found where there is none, with and without the smallest effect that counts."""
    alpha = MonitorConfig().alpha
    print("\n| new rows | resamples | false alarms | by the p-values alone |\n|---|---|---|---|")
    for count in (100, STATED):
        alarms = [0, 0]
        for seed in range(resamples):
            tests = compare(digits, count, seed, same)
            alarms[0] += any(test.drifted for test in tests)
            alarms[1] += any(test.p_holm is not None and test.p_holm <= alpha for test in tests)
        shares = [f"{alarm} ({100 * alarm / resamples:.1f} %)" for alarm in alarms]
        print(f"| {count} | {resamples} | {shares[0]} | {shares[1]} |", flush=True)


def power(digits: Digits, repeats: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Shares found: over the strengths at 500 rows, and over the rows at the stated strength."""
    over_strength: dict[str, list[float]] = {}
    over_rows: dict[str, list[float]] = {}
    print("\n| shift | at 500 rows, by strength | stated | at the stated one, by rows |\n|---|---|---|---|")
    for name, (shift, strengths, caption) in SHIFTS.items():

        def share(count: int, strength: float, shift: Shift = shift) -> float:
            """Share of the repeats in which the shift is found."""
            shifted = partial(_apply, shift, strength)
            tries = [compare(digits, count, 10_000 + seed, shifted) for seed in range(repeats)]
            return sum(any(test.drifted for test in tests) for tests in tries) / repeats

        over_strength[name] = [share(STATED, strength) for strength in strengths]
        at_stated = over_strength[name][strengths.index(caption)]
        over_rows[name] = [*(share(count, caption) for count in NEW[:-1]), at_stated]
        by_strength = ", ".join(f"{s:g}: {100 * p:.0f} %" for s, p in zip(strengths, over_strength[name], strict=True))
        by_rows = ", ".join(f"{n}: {100 * p:.0f} %" for n, p in zip(NEW, over_rows[name], strict=True))
        print(f"| {name} | {by_strength} | {caption:g} | {by_rows} |", flush=True)
    return over_strength, over_rows


def _apply(shift: Shift, strength: float, rows: Rows, rng: Rng) -> Rows:
    return shift(rows, strength, rng)


def draw_curves(over_strength: dict[str, list[float]], over_rows: dict[str, list[float]], path: Path) -> None:
    """`path` holds a picture of both sets of curves. Needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    styles = zip(("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"), "os^Dv", strict=True)
    for name, (colour, marker) in zip(SHIFTS, styles, strict=True):
        _, strengths, caption = SHIFTS[name]
        line = {"color": colour, "marker": marker, "markersize": 5}
        left.plot([100 * s for s in strengths], [100 * p for p in over_strength[name]], label=name, **line)
        right.plot(NEW, [100 * p for p in over_rows[name]], label=f"{name} {caption:g}", **line)
    for axes, title in ((left, f"{STATED} new rows"), (right, "the stated shift")):
        axes.axhline(90, color="#5b6675", linewidth=1, linestyle=":")
        axes.set(title=title, ylim=(-3, 103))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    left.set(xlabel="strength of the shift, percent (noise: of full brightness)", ylabel="found, % of tries")
    right.set(xlabel="new rows")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Prints false alarms and power, and draws the curves where `--picture` says."""
    parser = argparse.ArgumentParser(description="False alarms and power of the drift tests")
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--picture", help="where the curves go (needs matplotlib)")
    options = parser.parse_args()
    print(machine("numpy", "scipy", "scikit-learn"), flush=True)
    digits = read_digits()
    false_alarms(digits, options.resamples)
    curves = power(digits, options.repeats)
    if options.picture:
        draw_curves(*curves, Path(options.picture))


if __name__ == "__main__":
    main()
