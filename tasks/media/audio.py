"""Sound: any file that libsndfile reads becomes mono 16-bit at one rate."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile
import soxr

from tasks.media.canonical import Canonical, Undecodable

COMPLETE_SHARE = 0.98
"""A file with fewer of its declared frames is truncated; encoders round the last block, so not 1."""


def decode_audio(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The sound as int16 (T,), mono, at `sample_rate_hz`; channels are averaged, a peak over 1 is scaled down.

    Raises Undecodable: `unreadable-audio`, `truncated-audio`, `empty-audio`, `not-finite-audio`.
    """
    rate = int(limits["sample_rate_hz"])
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            source_rate, declared = file.samplerate, len(file)
            wanted = min(declared, int(float(limits["max_audio_s"]) * source_rate) + 1)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise Undecodable("unreadable-audio", error.error_string) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise Undecodable("unreadable-audio", str(error)) from None
    if declared == 0 or samples.shape[0] == 0:
        raise Undecodable("empty-audio", "0 frames")
    if samples.shape[0] < COMPLETE_SHARE * wanted:
        raise Undecodable("truncated-audio", f"{samples.shape[0]} of {wanted} frames")
    if not np.isfinite(samples).all():
        raise Undecodable("not-finite-audio", "NaN or infinite samples")
    cut = declared > wanted
    mono = samples.mean(axis=1)
    if source_rate != rate:
        try:
            mono = soxr.resample(mono, source_rate, rate, quality="HQ")
        except (RuntimeError, ValueError) as error:
            raise Undecodable("unreadable-audio", f"{source_rate} Hz cannot become {rate} Hz ({error})") from None
        if mono.shape[0] == 0:
            raise Undecodable("empty-audio", f"{samples.shape[0]} frames at {source_rate} Hz are none at {rate} Hz")
    mono = mono[: int(float(limits["max_audio_s"]) * rate)]
    peak = float(np.abs(mono).max())
    pcm = np.round(mono * (32_767.0 / max(1.0, peak))).astype("<i2")
    return Canonical(pcm.shape, pcm.tobytes(), rate, _warning(peak, cut, limits))


def _warning(peak: float, cut: bool, limits: Mapping[str, Any]) -> str | None:
    if peak == 0.0:
        return "silent"
    return f"cut to {limits['max_audio_s']:g} s" if cut else None
