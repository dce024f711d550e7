"""What can be measured of one canonical medium without a model: sizes, brightness, loudness. Imports no torch.

A picture's sides are those it is stored with: at most media.image_px.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_FULL_SCALE = 32768.0
_SILENCE = 1e-5  # -100 dBFS


def measure_picture(pixels: Array) -> dict[str, float]:
    """Of uint8 (H, W, 3): width and height in px, brightness and contrast in [0, 1]."""
    luma = _luma(pixels)
    return {**_sides(pixels), "brightness": float(luma.mean()), "contrast": float(luma.std())}


def measure_clip(frames: Array) -> dict[str, float]:
    """Of uint8 (N, H, W, 3): width and height in px, frames, brightness in [0, 1]."""
    return {**_sides(frames), "frames": float(frames.shape[0]), "brightness": float(_luma(frames).mean())}


def measure_sound(samples: Array, rate_hz: int) -> dict[str, float]:
    """Of int16 (T,): duration in s, loudness in dBFS."""
    sound = samples.astype(np.float64) / _FULL_SCALE
    loudness = float(np.sqrt(np.mean(sound**2))) if sound.size else 0.0
    return {
        "duration": len(samples) / rate_hz if rate_hz else 0.0,
        "loudness": float(20 * np.log10(loudness + _SILENCE)),
    }


def measure_silence(samples: Array, rate_hz: int) -> float:
    """Of int16 (T,): the share of its 20 ms pieces that are 40 dB or more below its loudest one."""
    size = max(1, rate_hz // 50)
    pieces = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    power = (pieces**2).mean(axis=1)
    return float((power <= 1e-4 * power.max()).mean()) if power.size else 1.0


def _luma(pixels: Array) -> Array:
    luma: Array = pixels.reshape(-1, 3).astype(np.float64) @ _LUMA / 255
    return luma


def _sides(pixels: Array) -> dict[str, float]:
    return {"width": float(pixels.shape[-2]), "height": float(pixels.shape[-3])}
