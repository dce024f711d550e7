"""Draws docs/digits.png: samples of the built-in data set, as picture, spectrogram and words.

python -m benchmarks.digits_figure [OUT.png]
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
import wave
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from PIL import Image

from tasks.ingest.sources.digits import SHARES, Quality, build_digits, draw_qualities

SEED = 0
COMBINATIONS: tuple[tuple[Quality, Quality, Quality], ...] = (
    ("clear", "clear", "clear"),
    ("poor", "clear", "clear"),
    ("clear", "poor", "clear"),
    ("clear", "clear", "poor"),
    ("poor", "poor", "clear"),
    ("clear", "missing", "poor"),
    ("missing", "clear", "clear"),
    ("poor", "clear", "missing"),
    ("clear", "clear", "clear"),
    ("poor", "clear", "clear"),
)
"""Image, audio, text of each column of the figure; the column's number is its digit."""


def main(out: Path) -> None:
    """The figure lies at `out`."""
    with tempfile.TemporaryDirectory() as folder:
        build_digits(Path(folder), SEED)
        rows = pq.read_table(Path(folder) / "manifest.parquet").to_pylist()
        qualities = draw_qualities(len(rows), SEED)
        states = list(zip(*(qualities[name] for name in SHARES), strict=True))
        mpl.rcParams.update({"font.size": 8, "font.family": "DejaVu Sans"})
        figure, axes = plt.subplots(3, len(COMBINATIONS), figsize=(13, 4.6), height_ratios=(1, 1.3, 0.6))
        for digit, present in enumerate(COMBINATIONS):
            row = next(
                r for r, state in zip(rows, states, strict=True) if r["label"] == str(digit) and state == present
            )
            _draw_column(axes[:, digit], row, present, Path(folder))
        axes[1, 0].set_ylabel("Hz")
        axes[1, 0].set_yticks([0, 1000, 2000, 3000])
        figure.tight_layout(h_pad=0.6, w_pad=0.5)
        figure.savefig(out, dpi=100, metadata={"Software": None})


def _draw_column(axes: Any, row: dict[str, Any], state: tuple[Quality, ...], folder: Path) -> None:
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    image, audio, text = (str(quality) for quality in state)
    axes[0].set_title(f"{row['label']}\n{image}")
    if row["image_path"]:
        axes[0].imshow(np.asarray(Image.open(folder / row["image_path"])), cmap="gray", vmin=0, vmax=255)
    axes[1].set_title(audio)
    if row["audio_path"]:
        _draw_spectrogram(axes[1], folder / row["audio_path"])
    axes[2].set_title(text)
    for axis, medium in zip(axes, (row["image_path"], row["audio_path"], row["text"]), strict=True):
        if not medium:
            axis.set_facecolor("#eeeeee")
    axes[2].text(
        0.5, 0.5, "\n".join(textwrap.wrap(row["text"] or "", 15)), ha="center", va="center", transform=axes[2].transAxes
    )


def _draw_spectrogram(axis: Axes, path: Path) -> None:
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        clip = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    axis.specgram(clip, NFFT=256, Fs=rate, noverlap=192, cmap="magma", vmin=-100, vmax=-30)
    axis.set_ylim(0, 3400)
    axis.set_xticks([])
    axis.set_yticks([])


if __name__ == "__main__":
    mpl.use("Agg")
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/digits.png"))
