"""The built-in data set: one handwritten digit as picture, as telephone tone and as words, each of them degraded.

Real pictures (scikit-learn's `load_digits`), made sound and words. Written as a user's data would be: PNG, WAV, and a
manifest. No column divides the rows: the stable hash of the id does, as for any data that comes without a split.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingest.sources.digits_audio import SAMPLE_RATE_HZ, play_key
from tasks.ingest.sources.digits_images import draw_digit
from tasks.ingest.sources.digits_text import write_words

Quality = Literal["clear", "poor", "missing"]
QUALITIES: tuple[Quality, ...] = ("clear", "poor", "missing")
SHARES = {
    "image": (0.70, 0.18, 0.12),
    "audio": (0.70, 0.18, 0.12),
    "text": (0.74, 0.14, 0.12),
}
"""Chances of clear, poor, missing, before samples with fewer than two modalities, or none clear, are drawn again."""
_README = """\
# Digits, seen, heard and read

{rows} samples, one handwritten digit each, as picture (PNG, 32 x 32, grey), sound (WAV, 8 kHz, 16 bit, mono) and words.

- Pictures: real handwriting, the UCI optical digits that ship with scikit-learn (`load_digits`), enlarged from 8 x 8.
- Sound: made by program: the DTMF dual tone of the digit's key (ITU-T Q.23), in noise of the telephone band.
- Words: made by program: the number written out in ten languages, in phrases, with typing errors.

Each is clear, poor, or missing; every sample has at least two of them, and at least one that is clear. An empty cell of
manifest.parquet is a missing one. There is no split column: whoever reads it divides the rows by a hash of sample_id.

Written by crossmodal with seed {seed}; docs/digits.md says how each is made and what a model reaches on it.
"""


def build_digits(folder: Path, seed: int) -> None:
    """The data set lies in the folder: images/*.png, audio/*.wav, manifest.parquet, README.md.

    Same seed, same bytes. README.md says what it is to whoever finds it in a store.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    digits = [int(digit) for digit in source.target]
    qualities = draw_qualities(len(digits), seed)
    for name in ("images", "audio"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str | None]] = []
    for index, digit in enumerate(digits):
        row: dict[str, str | None] = {"sample_id": f"digit-{index:04d}", "label": str(digit)}
        image, audio, text = (qualities[name][index] for name in SHARES)
        if image != "missing":
            path = f"images/{index:04d}.png"
            picture = draw_digit(source.images[index], poor=image == "poor", rng=_rng(seed, index, "image"))
            picture.save(folder / path)
            row["image_path"] = path
        if audio != "missing":
            path = f"audio/{index:04d}.wav"
            _write_wav(folder / path, play_key(digit, poor=audio == "poor", rng=_rng(seed, index, "audio")))
            row["audio_path"] = path
        if text != "missing":
            row["text"] = write_words(digit, poor=text == "poor", rng=_rng(seed, index, "text"))
        rows.append(row)
    columns = ("sample_id", "image_path", "audio_path", "text", "label")
    schema = pa.schema([pa.field(name, pa.string()) for name in columns])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "manifest.parquet")
    (folder / "README.md").write_text(_README.format(rows=len(rows), seed=seed), encoding="utf-8")


def draw_qualities(rows: int, seed: int) -> dict[str, list[Quality]]:
    """Per modality the quality of each sample: at least two modalities are present, at least one is clear."""
    rng = np.random.default_rng([seed, len(SHARES)])
    codes = np.zeros((rows, len(SHARES)), np.int64)
    bad = np.ones(rows, bool)
    while bad.any():
        for column, shares in enumerate(SHARES.values()):
            codes[bad, column] = rng.choice(len(QUALITIES), size=int(bad.sum()), p=shares)
        bad = ((codes == QUALITIES.index("missing")).sum(axis=1) > 1) | ~(codes == QUALITIES.index("clear")).any(axis=1)
    return {name: [QUALITIES[code] for code in codes[:, column]] for column, name in enumerate(SHARES)}


def _rng(seed: int, index: int, modality: str) -> np.random.Generator:
    """A generator for one cell: a change to one modality, or to one sample, leaves all others as they were."""
    return np.random.default_rng([seed, index, tuple(SHARES).index(modality)])


def _write_wav(path: Path, clip: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(clip.astype("<i2").tobytes())
