"""What an answer rests on, drawn over the medium: orange speaks for the explained answer, blue against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.media.encoder_inputs import log_mel, square
from tasks.media.thumbnails import png_uri

SIDE_PX = 176
SOUND_PX = (240, 96)
STRIP_FRAMES, FRAME_PX, BAR_PX = 8, 72, 8
_FOR, _AGAINST = (230, 92, 0), (0, 92, 190)  # apart for every kind of colour vision (Okabe & Ito 2008, darkened)
_MELS = 64
Map = Sequence[Sequence[float]]
Floats = NDArray[np.floating[Any]]


def draw_over_picture(pixels: NDArray[np.uint8], values: Map) -> str:
    """An RGB picture (H, W, 3), as an encoder sees its centre, below a map of it; a PNG data URI."""
    from PIL import Image

    small = min(pixels.shape[:2]) <= SIDE_PX // 2
    seen = square(pixels, SIDE_PX, Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR)
    return png_uri(Image.fromarray(_blend(_grey(seen), _stretch(values, SIDE_PX, SIDE_PX))))


def draw_over_sound(samples: NDArray[np.int16], rate_hz: int, values: Map, seconds: float | None) -> str:
    """The spectrogram of a mono sound (T,), low tones at the bottom, below a map of its first `seconds`; a PNG data URI."""
    from PIL import Image

    width, height = SOUND_PX
    heard = samples if seconds is None else samples[: max(1, round(seconds * rate_hz))]
    params = {"window_ms": 25, "hop_ms": 10, "n_mels": _MELS, "max_frames": 10**6}
    power = log_mel(heard, rate_hz, params)[:, ::-1].T
    level = np.clip((power - power.max()) / 9 + 1, 0, 1)  # 9 nats, 39 dB, as the tiny encoder hears
    image = Image.fromarray((235 * (1 - level)).astype(np.uint8)).resize((width, height))
    grey = np.repeat(np.asarray(image)[..., None], 3, axis=2).astype(np.float64)
    return png_uri(Image.fromarray(_blend(grey, _stretch(list(values)[::-1], width, height))))


def draw_frames(frames: NDArray[np.uint8], values: Sequence[float]) -> str:
    """Some frames (N, H, W, 3) of a clip in a row, below each a bar of what it adds; a PNG data URI."""
    from PIL import Image

    chosen = np.linspace(0, len(frames) - 1, min(STRIP_FRAMES, len(frames))).round().astype(int)
    # The encoder may have read fewer frames than there are: each is shown with the value at its time.
    at = np.linspace(0, len(values) - 1, len(frames)).round().astype(int)
    most = max((abs(value) for value in values), default=0.0) or 1.0
    strip = np.full((FRAME_PX + BAR_PX + 2, (FRAME_PX + 2) * len(chosen) - 2, 3), 255, np.uint8)
    for place, frame in enumerate(chosen.tolist()):
        left, value = place * (FRAME_PX + 2), values[at[frame]] / most
        strip[:FRAME_PX, left : left + FRAME_PX] = square(frames[frame], FRAME_PX)
        long = round(abs(value) * FRAME_PX)
        strip[FRAME_PX + 2 :, left : left + long] = _FOR if value > 0 else _AGAINST
    return png_uri(Image.fromarray(strip))


def _grey(pixels: NDArray[np.uint8]) -> Floats:
    """Lightened shades of grey, on which colours are the map's alone."""
    shade = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.repeat((95 + 0.6 * shade)[..., None], 3, axis=2)


def _stretch(values: Map, width: int, height: int) -> Floats:
    """(height, width) -1 to 1, smoothed to the picture's size."""
    from PIL import Image

    found = np.asarray(values, np.float32)
    most = float(np.quantile(np.abs(found), 0.995)) or float(np.abs(found).max()) or 1.0
    image = Image.fromarray(np.clip(found / most, -1, 1), mode="F")
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float64)


def _blend(grey: Floats, strength: Floats) -> NDArray[np.uint8]:
    colours = np.where(strength[..., None] > 0, np.array(_FOR), np.array(_AGAINST))
    share = 0.85 * np.abs(strength)[..., None] ** 0.7
    return np.clip(grey * (1 - share) + colours * share, 0, 255).astype(np.uint8)
