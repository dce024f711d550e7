"""Sound: any file that libsndfile reads, or else FFmpeg, becomes mono 16-bit at one rate."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr

from tasks.media.canonical import Canonical, Undecodable
from tasks.media.container import COMPLETE_SHARE, Damage, decoded_frames, decoder_of, indexed_frames, open_container

UNREADABLE = "unreadable-audio"
NO_SOUND = "no-sound"
"""The reason for a clip that has pictures and no sound."""


@dataclass(frozen=True)
class _Sound:
    """Samples as they are in the file."""

    samples: np.ndarray
    """float32 (frames, channels), at most one more than the limit allows."""
    rate_hz: int
    expected_frames: int
    """Declared frames, as far as the limit reaches."""
    cut: bool
    damaged: bool = False


def decode_audio(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The sound as int16 (T,), mono, at `sample_rate_hz`; channels are averaged, a peak over 1 is scaled down.

    Raises Undecodable: `unreadable-audio`, `truncated-audio`, `empty-audio`, `not-finite-audio`, and `no-sound` for a
    video without any.
    """
    rate = int(limits["sample_rate_hz"])
    sound = _read(data, float(limits["max_audio_s"]))
    samples = sound.samples
    if sound.expected_frames == 0 or samples.shape[0] == 0:
        raise Undecodable("empty-audio", "0 frames")
    if samples.shape[0] < COMPLETE_SHARE * sound.expected_frames:
        raise Undecodable("truncated-audio", f"{samples.shape[0]} of {sound.expected_frames} frames")
    if not np.isfinite(samples).all():
        raise Undecodable("not-finite-audio", "NaN or infinite samples")
    mono = samples.mean(axis=1)
    if sound.rate_hz != rate:
        try:
            mono = soxr.resample(mono, sound.rate_hz, rate, quality="HQ")
        except (RuntimeError, ValueError) as error:
            raise Undecodable(UNREADABLE, f"{sound.rate_hz} Hz cannot become {rate} Hz ({error})") from None
        if mono.shape[0] == 0:
            raise Undecodable("empty-audio", f"{samples.shape[0]} frames at {sound.rate_hz} Hz are none at {rate} Hz")
    mono = mono[: int(float(limits["max_audio_s"]) * rate)]
    peak = float(np.abs(mono).max())
    pcm = np.round(mono * (32_767.0 / max(1.0, peak))).astype("<i2")
    return Canonical(pcm.shape, pcm.tobytes(), rate, _warning(peak, sound, limits))


def _warning(peak: float, sound: _Sound, limits: Mapping[str, Any]) -> str | None:
    notes = ["silent"] if peak == 0.0 else [f"cut to {limits['max_audio_s']:g} s"] if sound.cut else []
    return "; ".join([*notes, *(["damaged packets skipped"] if sound.damaged else [])]) or None


def _read(data: bytes, longest_s: float) -> _Sound:
    """By libsndfile; what it does not know, by FFmpeg."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            declared = len(file)
            expected_frames = min(declared, int(longest_s * file.samplerate) + 1)
            samples = file.read(expected_frames, dtype="float32", always_2d=True)
            return _Sound(samples, file.samplerate, expected_frames, declared > expected_frames)
    except soundfile.LibsndfileError as error:
        refusal = error.error_string
    except (RuntimeError, TypeError, ValueError) as error:
        refusal = str(error)
    try:
        return _read_container(data, longest_s)
    except Undecodable as error:
        if error.reason != UNREADABLE:
            raise
        raise Undecodable(UNREADABLE, f"libsndfile: {refusal.rstrip('.')}; FFmpeg: {error.detail}") from None


def _read_container(data: bytes, longest_s: float) -> _Sound:
    """The first sound of a container. Declared is what its header says, or what its index lists."""
    with open_container(data, UNREADABLE) as container:
        if not container.streams.audio:
            raise Undecodable(NO_SOUND if container.streams.video else UNREADABLE, "no sound in it")
        stream = container.streams.audio[0]
        rate = int(decoder_of(stream, UNREADABLE).sample_rate)
        if rate <= 0:
            raise Undecodable(UNREADABLE, f"a sample rate of {rate} Hz")
        present, listed = indexed_frames(stream, len(data))
        if present < COMPLETE_SHARE * listed:
            raise Undecodable("truncated-audio", f"{present} of {listed} indexed frames are in the file")
        most = int(longest_s * rate) + 1
        damage = Damage()
        samples = _samples(container, stream, most, damage)
        damage.require_intact(UNREADABLE)
        declared = int((stream.duration or 0) * (stream.time_base or 0) * rate)
        expected_frames = min(declared, most) or samples.shape[0]
        return _Sound(samples[:most], rate, expected_frames, max(declared, samples.shape[0]) > most, damage.packets > 0)


def _samples(container: Any, stream: Any, most: int, damage: Damage) -> np.ndarray:
    """float32 (frames, channels) of a stream, no more blocks of it than hold `most` frames."""
    import av

    converter = av.AudioResampler(format="fltp")
    blocks: list[np.ndarray] = []
    count = 0
    for frame in decoded_frames(container, stream, damage):
        for converted in converter.resample(frame):
            blocks.append(converted.to_ndarray().T)
            count += len(blocks[-1])
        if count > most:
            break
    if len({block.shape[1] for block in blocks}) > 1:
        raise Undecodable(UNREADABLE, "the number of channels changes")
    return np.concatenate(blocks) if blocks else np.zeros((0, 1), np.float32)
