"""Media as they come from the world: noisy, blurred, compressed, over the telephone, mistyped; each in five severities.

Severities are those of ImageNet-C (Hendrycks & Dietterich 2019, "Benchmarking neural network robustness to common corruptions
and perturbations"), 1 mild to 5 severe. Every draw comes from the generator that is passed in. No torch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageFilter

SEVERITIES = (1, 2, 3, 4, 5)
NOISE_SHARE = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Standard deviation of noise in a picture whose values go from 0 to 1: ImageNet-C's."""
BLUR_PX = (1.0, 2.0, 3.0, 4.0, 6.0)
"""Of a Gaussian blur at a side of 224 pixels, as in ImageNet-C; of other sides as large a share."""
BLUR_SIDE_PX = 224
JPEG_QUALITY = (25, 18, 15, 10, 7)
"""ImageNet-C's."""
SNR_DB = (20, 15, 10, 5, 0)
"""Signal to noise ratio of white noise in sound."""
BANDS_HZ = ((50, 7000), (150, 5000), (300, 3400), (400, 2700), (500, 2000))
"""What of a sound is left: 3 is the telephone's band (ITU-T G.712), 1 that of wideband telephony (G.722)."""
BAND_ORDER = 4
"""Of a Butterworth filter on either side: 24 dB an octave."""
TYPO_SHARE = (0.02, 0.05, 0.1, 0.15, 0.25)
"""Characters with a typing error."""
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    key: row[max(place - 1, 0) : place] + row[place + 1 : place + 2] for row in _KEYS for place, key in enumerate(row)
}
"""Key of an English keyboard to those left and right of it."""

Generator = np.random.Generator
Picture = Callable[[np.ndarray, int, Generator], np.ndarray]


def add_noise(picture: np.ndarray, severity: int, rng: Generator) -> np.ndarray:
    """uint8 (H, W, 3) with Gaussian noise."""
    noise = rng.standard_normal(picture.shape, np.float32) * (255 * NOISE_SHARE[severity - 1])
    return np.asarray(np.clip(np.round(picture + noise), 0, 255), np.uint8)


def blur(picture: np.ndarray, severity: int, rng: Generator) -> np.ndarray:
    """uint8 (H, W, 3) out of focus."""
    radius = BLUR_PX[severity - 1] * min(picture.shape[:2]) / BLUR_SIDE_PX
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).filter(ImageFilter.GaussianBlur(radius)), np.uint8)


def compress(picture: np.ndarray, severity: int, rng: Generator) -> np.ndarray:
    """uint8 (H, W, 3) after JPEG."""
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(sink, "JPEG", quality=JPEG_QUALITY[severity - 1])
    return np.asarray(Image.open(sink).convert("RGB"), np.uint8)


PICTURES: Mapping[str, Picture] = MappingProxyType({"noise": add_noise, "blur": blur, "jpeg": compress})
"""Of pictures, and of each frame of a clip."""


def corrupt_clip(clip: np.ndarray, name: str, severity: int, rng: Generator) -> np.ndarray:
    """uint8 (N, H, W, 3), each frame as a picture."""
    return np.stack([PICTURES[name](frame, severity, rng) for frame in clip])


def corrupt_sound(pcm: np.ndarray, rate_hz: int, name: str, severity: int, rng: Generator) -> np.ndarray:
    """int16 (T,) with white noise (`noise`), or through a band as narrow as a telephone's (`telephone`)."""
    samples = pcm.astype(np.float64)
    if name == "noise":
        power = float(np.square(samples).mean()) / 10 ** (SNR_DB[severity - 1] / 10)
        samples = samples + rng.normal(size=len(samples)) * power**0.5
    else:
        low, high = BANDS_HZ[severity - 1]
        hz = np.fft.rfftfreq(len(samples), 1 / rate_hz)
        ratio = np.divide(low, hz, out=np.full(len(hz), np.inf), where=hz > 0)
        gain = ((1 + ratio ** (2 * BAND_ORDER)) * (1 + (hz / high) ** (2 * BAND_ORDER))) ** -0.5
        samples = np.fft.irfft(np.fft.rfft(samples) * gain, len(samples))
    return np.asarray(np.clip(np.round(samples), -32_768, 32_767), np.int16)


def mistype(text: str, severity: int, rng: Generator) -> str:
    """A text in which some characters that are no space are left out, doubled, exchanged with the next one, or replaced by the
    key beside theirs. Not empty: where nothing would be left, it stays as it is."""
    found: list[str] = []
    errors, kinds = rng.random(len(text)) < TYPO_SHARE[severity - 1], rng.integers(0, 4, len(text))
    place = 0
    while place < len(text):
        letter, following = text[place], text[place + 1 : place + 2]
        if errors[place] and not letter.isspace():
            if kinds[place] == 1:
                found.append(letter * 2)
            elif kinds[place] == 2 and following.strip():
                found.append(following + letter)
                place += 1
            elif kinds[place] == 3 and (keys := _NEIGHBOURS.get(letter.lower(), "")):
                beside = keys[int(rng.integers(len(keys)))]
                found.append(beside.upper() if letter.isupper() else beside)
        else:
            found.append(letter)
        place += 1
    return "".join(found) if "".join(found).strip() else text
