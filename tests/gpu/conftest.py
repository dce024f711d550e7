"""What the tests on a CUDA device share: they are skipped where there is none, and samples that are not easy."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

CLASSES = ("red", "green", "blue", "grey")
MISLED = 0.3
"""Chance that a medium shows another class than its row's: no model can be right everywhere."""


@pytest.fixture(autouse=True)
def device() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of 900 samples of four classes; each of picture, sound and words misleads in three cases of ten."""
    return write_noisy(tmp_path_factory.mktemp("noisy"))


def write_noisy(folder: Path, rows: int = 900) -> Path:
    """300 test rows, 100 validation rows, the others to train on."""
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "audio", "text", "label", "split"])
        for number in range(rows):
            kind = number % len(CLASSES)
            shown = [int(rng.integers(4)) if rng.random() < MISLED else kind for _ in range(3)]
            paint(folder / f"{number}.png", shown[0], rng)
            play(folder / f"{number}.wav", shown[1], rng)
            words = f"number {number} is {CLASSES[shown[2]]}"
            split = "test" if number < 300 else "val" if number < 400 else "train"
            writer.writerow([f"s{number:03}", f"{number}.png", f"{number}.wav", words, CLASSES[kind], split])
    return folder / "manifest.csv"


def paint(path: Path, kind: int, rng: np.random.Generator) -> None:
    """One of three colours a little stronger than the others, or none."""
    pixels = rng.integers(0, 200, (24, 24, 3), dtype=np.uint8)
    if kind < 3:
        pixels[..., kind] += 40
    Image.fromarray(pixels).save(path)


def play(path: Path, kind: int, rng: np.random.Generator) -> None:
    """One of four tones under noise."""
    time_s = np.arange(1600) / 8000
    tone = 0.2 * np.sin(2 * np.pi * (400 + 500 * kind + rng.uniform(-100, 100)) * time_s)
    soundfile.write(path, tone + rng.normal(0, 0.1, len(time_s)), 8000)
