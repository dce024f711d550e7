"""What encoders read of canonical media: square pictures, spectra or sound at their own rate, bytes. No torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

_FLOOR = 1e-6  # power below which a mel band counts as silent: -60 dB of full scale
Params = Mapping[str, Any]


def small_picture(picture: np.ndarray, rate_hz: int, params: Params) -> np.ndarray:
    """uint8 (H, W, 3) to uint8 (S, S, 3): the shorter side is scaled to S, the centre is kept."""
    return square(picture, int(params["image_px"]))


def small_frames(clip: np.ndarray, rate_hz: int, params: Params) -> np.ndarray:
    """uint8 (N, H, W, 3) to uint8 (N, S, S, 3): frame by frame, as a picture."""
    return square_frames(clip, int(params["video_px"]))


def square(picture: np.ndarray, side: int, resample: int = Image.Resampling.BILINEAR) -> np.ndarray:
    """uint8 (H, W, 3) to uint8 (S, S, 3): the centre, scaled with one of Pillow's filters."""
    height, width = picture.shape[:2]
    if (height, width) == (side, side):
        return picture
    short = min(height, width)
    left, top = (width - short) // 2, (height - short) // 2
    centre = np.ascontiguousarray(
        picture[top : top + short, left : left + short]
    )  # resize(box=) would blend in what is outside
    scaled = Image.fromarray(centre).resize((side, side), Image.Resampling(resample))
    return np.asarray(scaled, dtype=np.uint8)


def square_frames(clip: np.ndarray, side: int, resample: int = Image.Resampling.BILINEAR) -> np.ndarray:
    """uint8 (N, H, W, 3) to uint8 (N, S, S, 3), each frame as a picture."""
    return np.stack([square(frame, side, resample) for frame in clip])


def log_mel(pcm: np.ndarray, rate_hz: int, params: Params) -> np.ndarray:
    """int16 (T,) to float32 (frames, n_mels): the natural logarithm of the power in each mel band."""
    window = round(rate_hz * float(params["window_ms"]) / 1000)
    hop = round(rate_hz * float(params["hop_ms"]) / 1000)
    n_fft = 1 << (window - 1).bit_length()
    samples = pcm.astype(np.float32) / 32_768.0
    if samples.shape[0] < window:
        samples = np.pad(samples, (0, window - samples.shape[0]))
    samples = samples[: window + hop * (int(params["max_frames"]) - 1)]
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    spectrum = np.fft.rfft(frames * _hann(window), n_fft)
    power = (spectrum.real**2 + spectrum.imag**2) / n_fft
    mel = (_sparse_filters(rate_hz, n_fft, int(params["n_mels"])) @ power.T).T
    return np.asarray(np.log(mel + _FLOOR), dtype=np.float32)


@functools.cache
def _hann(window: int) -> np.ndarray:
    """float32 (window,), periodic."""
    return np.hanning(window + 1)[:-1].astype(np.float32)


@functools.cache
def _sparse_filters(rate_hz: int, n_fft: int, n_mels: int) -> Any:
    """(n_mels, n_fft // 2 + 1). Two filters reach a bin, so few products are left, and SciPy sums them on one thread.

    NumPy's product would take threads, wait for them for ten times as long on a busy machine, and end in other last bits on
    another number of cores.
    """
    from scipy.sparse import csr_array

    return csr_array(mel_filters(rate_hz, n_fft, n_mels).T)


@functools.cache
def mel_filters(rate_hz: int, n_fft: int, n_mels: int) -> np.ndarray:
    """float32 (n_fft // 2 + 1, n_mels): triangles evenly spaced on the HTK mel scale, mel = 2595 log10(1 + f / 700)."""
    top = 2595.0 * np.log10(1.0 + rate_hz / 2 / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0.0, top, n_mels + 2) / 2595.0) - 1.0)
    bins = np.arange(n_fft // 2 + 1)[:, None] * rate_hz / n_fft
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def text_bytes(text: str, rate_hz: int, params: Params) -> np.ndarray:
    """The first `max_text_bytes` UTF-8 bytes as uint8 (L,)."""
    return np.frombuffer(text.encode("utf-8")[: int(params["max_text_bytes"])], dtype=np.uint8)


def resample(pcm: np.ndarray, rate_hz: int, target_hz: int) -> np.ndarray:
    """int16 (T,) at one rate -> int16 (T',) at another."""
    import soxr

    if rate_hz == target_hz:
        return pcm
    changed = soxr.resample(pcm.astype(np.float32), rate_hz, target_hz, quality="HQ")
    return np.asarray(np.clip(np.round(changed), -32_768, 32_767), dtype=np.int16)
