"""What can be measured of one canonical medium without a model: sizes, brightness, loudness, lengths. Imports no torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_contracts.refs import Modality

UNITS: dict[Modality, dict[str, str]] = {
    "image": {"width": "px", "height": "px", "brightness": "0-1", "contrast": "0-1"},
    "text": {"length": "characters"},
    "audio": {"duration": "s", "loudness": "dBFS"},
    "video": {"width": "px", "height": "px", "frames": "", "brightness": "0-1"},
}
"""Measure to unit. A picture's sides are those it is stored with: at most media.image_px."""
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_FULL_SCALE = 32768.0
_SILENCE = 1e-5  # -100 dBFS


def measure(modality: Modality, medium: npt.NDArray[np.generic] | str, rate_hz: int) -> dict[str, float]:
    """One value for each measure of `UNITS`, of a medium as `MediaReader` gives it."""
    if isinstance(medium, str):
        return {"length": float(len(medium))}
    if modality == "audio":
        sound = medium.astype(np.float64) / _FULL_SCALE
        loudness = float(np.sqrt(np.mean(sound**2))) if sound.size else 0.0
        return {
            "duration": len(medium) / rate_hz if rate_hz else 0.0,
            "loudness": float(20 * np.log10(loudness + _SILENCE)),
        }
    luma = medium.reshape(-1, 3).astype(np.float64) @ _LUMA / 255
    sides = {"width": float(medium.shape[-2]), "height": float(medium.shape[-3])}
    if modality == "video":
        return {**sides, "frames": float(medium.shape[0]), "brightness": float(luma.mean())}
    return {**sides, "brightness": float(luma.mean()), "contrast": float(luma.std())}
