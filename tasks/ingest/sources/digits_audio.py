"""The sound of the digits data set: the digit's telephone key as a DTMF dual tone on a noisy line.

Frequencies: ITU-T Recommendation Q.23 (low and high group). What a receiver must bear with (a frequency error of up to
1.5 %, the two tones up to 4 dB apart, tones from 40 ms on): ITU-T Recommendation Q.24. The tones stay inside those
limits; only the noise of a poor clip goes beyond what a receiver is asked to decode.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 8000
ROWS_HZ = (697, 770, 852, 941)
COLUMNS_HZ = (1209, 1336, 1477)
KEYPAD = ("123", "456", "789", "*0#")
BAND_HZ = (300, 3400)
"""The telephone band, in which all noise lies."""

FREQUENCY_ERROR = 0.01
"""Largest relative error of a tone; Q.24 receivers accept 1.5 %."""
TWIST_DB = 4.0
"""Largest difference between the levels of the two tones."""
TONE_S = (0.06, 0.25)
SILENCE_S = (0.05, 0.20)
"""Before and after the tone: only noise."""
LEVEL_DB = (-34.0, -14.0)
"""RMS of the clip, relative to full scale."""
CLEAR_SNR_DB = (0.0, 20.0)
"""Power of the two tones while they sound, over that of the noise in the telephone band."""
POOR_SNR_DB = (-20.0, -8.0)
_RAMP_S = 0.005
"""Rise and fall of a tone: no click."""


def key_frequencies(digit: int) -> tuple[int, int]:
    """The row and the column frequency of a digit's key, in Hz."""
    row = next(i for i, keys in enumerate(KEYPAD) if str(digit) in keys)
    return ROWS_HZ[row], COLUMNS_HZ[KEYPAD[row].index(str(digit))]


def play_key(digit: int, *, poor: bool, rng: np.random.Generator) -> NDArray[np.int16]:
    """A clip (T,) at 8 kHz: silence, the key's dual tone, silence, all under noise of the telephone band."""
    before, length, after = (round(rng.uniform(*span) * SAMPLE_RATE_HZ) for span in (SILENCE_S, TONE_S, SILENCE_S))
    tone = dual_tone(digit, length, rng)
    noise = band_noise(before + length + after, rng)
    snr_db = rng.uniform(*(POOR_SNR_DB if poor else CLEAR_SNR_DB))
    clip = noise * 10 ** (-snr_db / 20)
    clip[before : before + length] += tone
    clip *= 10 ** (rng.uniform(*LEVEL_DB) / 20) / math.sqrt(float(np.mean(clip**2)))
    return np.round(np.clip(clip, -1.0, 1.0) * 32767).astype(np.int16)


def dual_tone(digit: int, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The sum of the key's two tones, (length,), of mean power 1 but for its short rise and fall."""
    time_s = np.arange(length) / SAMPLE_RATE_HZ
    twist = 10 ** (rng.uniform(-TWIST_DB, TWIST_DB) / 20)
    amplitudes = (math.sqrt(2 / (1 + twist**2)), twist * math.sqrt(2 / (1 + twist**2)))
    tone = np.zeros(length)
    for frequency, amplitude in zip(key_frequencies(digit), amplitudes, strict=True):
        hz = frequency * (1 + rng.uniform(-FREQUENCY_ERROR, FREQUENCY_ERROR))
        tone += amplitude * np.sin(2 * math.pi * (hz * time_s + rng.random()))
    ramp = np.minimum(1.0, (np.minimum(np.arange(length), np.arange(length)[::-1]) + 1) / (_RAMP_S * SAMPLE_RATE_HZ))
    return np.asarray(tone * np.sin(math.pi / 2 * ramp) ** 2)


def band_noise(length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """White noise inside the telephone band, (length,), of mean power 1."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    hz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE_HZ)
    spectrum[(hz < BAND_HZ[0]) | (hz > BAND_HZ[1])] = 0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / math.sqrt(float(np.mean(noise**2))))
