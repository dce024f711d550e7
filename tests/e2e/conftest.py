"""Data that a small network learns in a few epochs, and the command line in this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from flows.cli import main

LABELS = ("low", "high")
SMALL = ("train.epochs=4", "train.batch_size=16", "train.learning_rate=0.003", "runtime.workers=1", "gate.margin=0.2")


def write_learnable(folder: Path, rows: int = 120) -> Path:
    """A manifest whose label shows in the picture's colour, the sound's pitch and the words; 20 test rows."""
    rng = np.random.default_rng(0)
    for place in ("img", "snd"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "audio", "text", "label", "split"])
        for number in range(rows):
            kind = number % 2
            write_picture(folder / f"img/{number}.png", kind, rng)
            time_s = np.arange(1600) / 8000
            tone = 0.4 * np.sin(2 * np.pi * (400 + 1200 * kind + rng.uniform(-50, 50)) * time_s) + rng.normal(
                0, 0.02, 1600
            )
            soundfile.write(folder / f"snd/{number}.wav", tone, 8000)
            split = "test" if number < 20 else "val" if number < 40 else "train"
            words = f"it is {LABELS[kind]} number {number}"
            writer.writerow([f"s{number:03}", f"img/{number}.png", f"snd/{number}.wav", words, LABELS[kind], split])
    return folder / "manifest.csv"


def write_picture(path: Path, kind: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 120, (24, 24, 3), dtype=np.uint8)
    pixels[..., 2 * kind] += 120
    Image.fromarray(pixels).save(path)


@pytest.fixture
def learnable(tmp_path: Path) -> Path:
    return write_learnable(tmp_path / "learnable")


@pytest.fixture
def repaint() -> Callable[[Path], None]:
    """Replaces a picture of the class "low" by another of that class."""
    return lambda path: write_picture(path, 0, np.random.default_rng(99))


@dataclass
class Ran:
    """What a command left: its exit status, its JSON line, and what it said on stderr."""

    status: int
    json: Any
    err: str


@pytest.fixture
def crossmodal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """crossmodal("retrain", "--plain", ...) with a store of its own, small settings and --json."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "CROSSMODAL_STORE"):
        monkeypatch.delenv(name, raising=False)

    def call(command: str, *arguments: str, small: bool = True) -> Ran:
        settings = [part for value in SMALL if small for part in ("--set", value)]
        with pytest.raises(SystemExit) as stop:
            main([*command.split(), *arguments, *settings, "--store", str(tmp_path / "store"), "--json"])
        out, err = capsys.readouterr()
        status = stop.value.code
        assert isinstance(status, int)
        return Ran(status, json.loads(out.splitlines()[-1]) if out.strip() else None, err)

    return call
