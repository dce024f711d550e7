"""What every attack uses: data that takes seconds to train on, the command, and what an undisturbed run of it gives."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.chaos.forked import Ended, run
from benchmarks.measure import TINY

SETTINGS = (
    *TINY,
    *("name=chaos", "train.epochs=3", "train.batch_size=16", "train.threads=1", "train.learning_rate=0.003"),
    *("runtime.workers=1", "gate.margin=0.2", "extract.shard_rows=32", "split.near_duplicates=false"),
)
CODES = (0, 2, 3, 4, 5)
"""Exit statuses that the command line promises."""


@dataclass(frozen=True)
class Trial:
    """A manifest, and the model that an undisturbed run publishes."""

    manifest: Path
    scratch: Path
    sha256: str
    seconds: float
    """Of that run, in a fork."""

    def retrain(self, store: Path, *more: str) -> list[str]:
        """The command's arguments."""
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        data = ["--data", str(self.manifest), "--store", str(store)]
        return ["retrain", "--profile", "defaults", "--plain", "--json", *data, *settings, *more]


def make_trial(folder: Path) -> Trial:
    """120 rows of pictures and words that can be learned, and one run on them. RuntimeError where it does not promote."""
    manifest = write_rows(folder / "data")
    trial = Trial(manifest, folder, "", 0.0)
    ended, seconds = run(trial.retrain(folder / "undisturbed"), folder / "log")
    found = summary_of(ended)
    if ended.code != 0 or found.get("verdict") != "promote":
        raise RuntimeError(f"the undisturbed run ended with {ended.code}: {ended.err[-2000:]}")
    return Trial(manifest, folder, found["model"]["sha256"], seconds)


def write_rows(folder: Path) -> Path:
    """The manifest of 120 rows: bright pictures have other words than dark ones."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir(parents=True)
    words = {"low": ("dark", "night", "shade"), "high": ("bright", "day", "light")}
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text", "label", "split"])
        for number in range(120):
            label = ("low", "high")[number % 2]
            pixels = rng.integers(0, 100, (16, 16, 3)) + (0 if label == "low" else 150)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "pictures" / f"{number}.png")
            text = " ".join(rng.choice(words[label], 4)) + f" number {number}"
            split = ("test", "val", "train", "train", "train")[number // 2 % 5]
            writer.writerow([number, f"pictures/{number}.png", text, label, split])
    return folder / "manifest.csv"


def summary_of(ended: Ended) -> dict[str, Any]:
    """The summary on its last line; empty where there is none."""
    lines = ended.out.strip().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found


def is_error_of_ours(ended: Ended) -> bool:
    """It was refused as the command line promises: a known status, one line that says why, no traceback, no fault of ours."""
    said = ended.err.strip()
    return ended.code in CODES[1:] and bool(said) and "Traceback" not in said and "internal error" not in said


def publishes(trial: Trial, ended: Ended) -> bool:
    """It ended with the model of the undisturbed run."""
    found = summary_of(ended)
    right = (
        found.get("verdict") in ("promote", "unchanged") and (found.get("model") or {}).get("sha256") == trial.sha256
    )
    return ended.code == 0 and right


def fresh(trial: Trial, name: str) -> Path:
    """An empty place for a store."""
    store = trial.scratch / name
    shutil.rmtree(store, ignore_errors=True)
    return store
