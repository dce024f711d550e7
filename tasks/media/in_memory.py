"""Media that a program holds in memory, written as the files that decoders read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from tasks.media.canonical import Undecodable

BAD_VALUE = "bad-value"
_WITHOUT_PNG = frozenset({"CMYK", "HSV", "LAB", "YCbCr"})
"""Modes of PIL that PNG lacks and that are converted, as those of files are."""
_MAX_CHANNELS = 1024
"""More no sound file has."""
_MAX_RATE_HZ = 10_000_000


def picture_bytes(value: Any) -> bytes | None:
    """PNG of a PIL image, or of an array of uint8 (H, W), (H, W, 3) or (H, W, 4); None for what is neither.

    Raises Undecodable: `bad-value`, `unreadable-image`.
    """
    from PIL import Image

    if isinstance(value, np.ndarray):
        shaped = value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (3, 4))
        if value.dtype != np.uint8 or not shaped or not value.size:
            given = f"an array of {value.dtype} {value.shape}"
            raise Undecodable(BAD_VALUE, f"is {given}; give uint8 (H, W), (H, W, 3) or (H, W, 4)")
        value = Image.fromarray(np.ascontiguousarray(value))
    if not isinstance(value, Image.Image):
        return None
    sink = io.BytesIO()
    try:
        exif = value.getexif()
        if value.mode in _WITHOUT_PNG:
            value = value.convert("RGB")
        value.save(sink, "PNG", compress_level=1, exif=exif)
    # it was opened and cannot be read, or has a mode that PNG lacks
    except (OSError, ValueError, SyntaxError) as error:
        raise Undecodable("unreadable-image", f"{type(error).__name__}: {error}") from None
    return sink.getvalue()


def sound_bytes(value: Any) -> bytes | None:
    """WAV of (samples, rate in Hz), the samples (T,) or (T, channels), int16 or floats in [-1, 1]; None for what is no pair.

    Raises Undecodable: `bad-value`.
    """
    import soundfile

    if not isinstance(value, tuple) or len(value) != 2:
        return None
    samples, rate_hz = np.asarray(value[0]), value[1]
    if samples.ndim not in (1, 2) or not samples.size or samples.dtype not in (np.int16, np.float32, np.float64):
        given = f"an array of {samples.dtype} {samples.shape}"
        raise Undecodable(BAD_VALUE, f"is {given}; give int16 or float (T,) or (T, channels)")
    if samples.ndim == 2 and samples.shape[1] > _MAX_CHANNELS:
        raise Undecodable(BAD_VALUE, f"is an array {samples.shape}; give (T, channels): transpose it")
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | np.integer) or not 0 < rate_hz <= _MAX_RATE_HZ:
        raise Undecodable(BAD_VALUE, f"has the rate {rate_hz!r}; give a whole number of Hz")
    sink = io.BytesIO()
    try:
        soundfile.write(sink, samples, int(rate_hz), "PCM_16" if samples.dtype == np.int16 else "FLOAT", format="WAV")
    except (RuntimeError, ValueError) as error:
        raise Undecodable(BAD_VALUE, f"cannot be written as a sound ({error})") from None
    return sink.getvalue()
