"""Small pictures of media, as data URIs: thumbnails, filmstrips, waveform and spectrogram of sounds; the start of a text."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict  # pydantic reads those of typing only from Python 3.12 on

THUMBNAIL_PX = 144
ENLARGE_BELOW_PX = 64
STRIP_FRAMES, STRIP_PX = 4, 72
TEXT_CHARS = 400
PLAYED_S = 5
"""Of a sound: at 16 kHz 160 kB."""
WAVE_PX, SPECTRUM_PX, SOUND_WIDTH_PX = 36, 84, 200
# Anchors of the viridis colour map (van der Walt & Smith 2015), which stays legible without colour vision.
_VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_WAVE = (0, 114, 178)


class Picture(TypedDict, total=False):
    """One medium as it is shown."""

    image: str
    """Data URIs of pictures."""
    audio: str
    seconds: float
    text: str
    video: str
    cells: list[tuple[str, str]]
    """Column and cell of a table's row."""


def draw_image(pixels: NDArray[np.uint8]) -> str:
    """An RGB picture (H, W, 3) as a PNG data URI of at most THUMBNAIL_PX; tiny ones are enlarged without blur."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    longest = max(image.size)
    if longest <= ENLARGE_BELOW_PX:
        times = max(THUMBNAIL_PX // longest, 1)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    else:
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return png_uri(image)


def draw_clip(frames: NDArray[np.uint8]) -> str:
    """Frames (N, H, W, 3) as a PNG data URI: a filmstrip of at most STRIP_FRAMES of them, in order, two to a line."""
    from PIL import Image

    chosen = np.linspace(0, len(frames) - 1, min(STRIP_FRAMES, len(frames))).round().astype(int)
    small = []
    for frame in frames[chosen]:
        image = Image.fromarray(np.ascontiguousarray(frame))
        scale = STRIP_PX / max(image.size)
        small.append(image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale)))))
    columns = min(2, len(small))
    width, height = small[0].width + 2, small[0].height + 2
    strip = Image.new("RGB", (width * columns - 2, height * -(-len(small) // columns) - 2), "white")
    for place, image in enumerate(small):
        strip.paste(image, (place % columns * width, place // columns * height))
    return png_uri(strip)


def draw_sound(samples: NDArray[np.int16], rate_hz: int) -> str:
    """A mono sound (T,) as a PNG data URI: its waveform, and below it its spectrogram (0 Hz at the bottom, in dB)."""
    from PIL import Image

    sound = samples.astype(np.float32) / 32768
    picture = np.full((WAVE_PX + SPECTRUM_PX, SOUND_WIDTH_PX, 3), 255, dtype=np.uint8)
    if len(sound):
        picture[:WAVE_PX] = _waveform(sound)
        picture[WAVE_PX:] = _spectrogram(sound, rate_hz)
    return png_uri(Image.fromarray(picture))


def play_sound(samples: NDArray[np.int16], rate_hz: int) -> str | None:
    """The first PLAYED_S seconds of a mono sound (T,) as a WAV data URI; None where there is none."""
    if not len(samples) or rate_hz <= 0:
        return None
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples[: PLAYED_S * rate_hz].astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def draw_text(text: str) -> str:
    """Its first TEXT_CHARS characters."""
    return text[:TEXT_CHARS] + ("…" if len(text) > TEXT_CHARS else "")


def _waveform(wave: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Lowest to highest value of each column, scaled to the loudest."""
    edges = np.linspace(0, len(wave), SOUND_WIDTH_PX + 1).astype(int)
    starts = np.minimum(edges[:-1], len(wave) - 1)
    low, high = np.minimum.reduceat(wave, starts), np.maximum.reduceat(wave, starts)
    loudest = float(np.abs(wave).max()) or 1.0
    middle = (WAVE_PX - 1) / 2
    rows = np.arange(WAVE_PX)[:, None]
    inside = (rows >= np.floor(middle - high / loudest * middle)) & (rows <= np.ceil(middle - low / loudest * middle))
    return np.where(inside[..., None], np.array(_WAVE), 255).astype(np.uint8)


def _spectrogram(wave: NDArray[np.floating[Any]], rate_hz: int) -> NDArray[np.uint8]:
    """Power in dB over 70 dB below the loudest, in windows of 25 ms."""
    size = min(max(int(rate_hz * 0.025), 16), 2048)
    padded = np.pad(wave, (0, max(size - len(wave), 0)))
    starts = np.linspace(0, len(padded) - size, SOUND_WIDTH_PX).astype(int)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, n=2 * size, axis=1)) ** 2
    decibels = 10 * np.log10(power + 1e-10)
    level = np.clip((decibels - decibels.max()) / 70 + 1, 0, 1)
    rows = np.linspace(level.shape[1] - 1, 0, SPECTRUM_PX).astype(int)
    return _colour(level[:, rows].T)


def _colour(level: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    anchors = np.array(_VIRIDIS, dtype=np.float64)
    places = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(level, places, anchors[:, c]) for c in range(3)], axis=-1).astype(np.uint8)


def png_uri(image: Any) -> str:
    """A picture of Pillow's as a PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
