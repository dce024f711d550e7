"""The small data and settings that tests of every part write: pictures, sounds, clips, manifests, learnable data."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

MakeData = Callable[..., Path]
TONES = ("low", "high")
TINY = [f"encoders.{kind}=tiny" for kind in ("image", "text", "audio", "video")]
"""Named, as stages by themselves choose none; what the default does, tests of the choice ask for."""
SMALL = [
    "train.epochs=4",
    "train.batch_size=16",
    "train.threads=1",
    "train.learning_rate=0.003",
    "runtime.workers=1",
    "media.timeout_s=600",
    "evaluate.classical_rows=0",  # tests of the classical baseline ask for it
    *TINY,
]


def write_picture(path: Path, number: int, side: int = 16) -> None:
    """A PNG that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_sound(path: Path, number: int, rate_hz: int = 8000) -> None:
    """A WAV of 0.1 s that no other number gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(rate_hz // 10) / rate_hz
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 7 * number) * time_s), rate_hz)


def clip_bytes(
    frames: list[np.ndarray],
    rate: int = 25,
    sound_s: float = 0.0,
    kind: str = "mp4",
    turn: int = 0,
    codec: str = "mpeg4",
) -> bytes:
    """A video of RGB frames (H, W, 3) with even sides, with a tone of `sound_s` seconds where that is not 0."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=kind) as out:
        video = out.add_stream(codec, rate=rate, options={"qmin": "1", "qmax": "2"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt, video.gop_size = "yuv420p", 5
        if turn:
            video.set_display_rotation(turn)
        sound = out.add_stream("aac", rate=16_000, layout="mono") if sound_s else None
        for frame in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        out.mux(video.encode())
        if sound is not None:
            tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(16_000 * sound_s), dtype=np.float32) / 16_000)
            block = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate = 16_000
            out.mux(sound.encode(block))
            out.mux(sound.encode())
    return sink.getvalue()


def write_manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


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
            paint(folder / f"img/{number}.png", kind, rng)
            time_s = np.arange(1600) / 8000
            tone = 0.4 * np.sin(2 * np.pi * (400 + 1200 * kind + rng.uniform(-50, 50)) * time_s) + rng.normal(
                0, 0.02, 1600
            )
            soundfile.write(folder / f"snd/{number}.wav", tone, 8000)
            split = "test" if number < 20 else "val" if number < 40 else "train"
            words = f"it is {TONES[kind]} number {number}"
            writer.writerow([f"s{number:03}", f"img/{number}.png", f"snd/{number}.wav", words, TONES[kind], split])
    return folder / "manifest.csv"


def paint(path: Path, kind: int, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 120, (24, 24, 3), dtype=np.uint8)
    pixels[..., 2 * kind] += 120
    Image.fromarray(pixels).save(path)


PIXELS = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
SOUND = (0.3 * np.sin(np.arange(4000) / 5)).astype(np.float32)


def png(pixels: np.ndarray) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def wav(samples: np.ndarray, rate_hz: int) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate_hz, "FLOAT", format="WAV")
    return sink.getvalue()
