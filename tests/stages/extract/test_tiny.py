"""What the tiny encoders read, by value."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tasks.media.encoder_inputs import log_mel, mel_filters, small_frames, small_picture, text_bytes

PARAMS = {
    "image_px": 8,
    "video_px": 6,
    "n_mels": 64,
    "hop_ms": 10.0,
    "window_ms": 25.0,
    "max_frames": 50,
    "max_text_bytes": 5,
}
RATE_HZ = 16_000


def _tone(hz: float, seconds: float = 0.3, amplitude: float = 0.5) -> np.ndarray:
    time_s = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    return (amplitude * 32_767 * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)


@pytest.mark.parametrize("hz", [300, 440, 1000, 2500, 6000])
def test_a_tone_peaks_in_the_band_whose_centre_is_nearest_in_mel(hz: float) -> None:
    mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
    centres = np.linspace(0, mel(RATE_HZ / 2), 66)[1:-1]
    peaks = log_mel(_tone(hz), RATE_HZ, PARAMS).argmax(axis=1)
    assert set(np.abs(peaks - np.abs(centres - mel(hz)).argmin())) <= {0, 1}


def test_frames_follow_from_length_and_hop() -> None:
    spectrum = log_mel(_tone(440), RATE_HZ, PARAMS)
    assert spectrum.shape == (1 + (4800 - 400) // 160, 64)
    assert spectrum.dtype == np.float32
    assert log_mel(_tone(440, 3.0), RATE_HZ, PARAMS).shape == (50, 64)
    assert log_mel(_tone(440, 0.001), RATE_HZ, PARAMS).shape == (1, 64)
    assert log_mel(np.zeros(1, np.int16), 8000, PARAMS).shape == (1, 64)


def test_silence_is_the_floor_and_ten_times_the_amplitude_is_a_hundred_times_the_power() -> None:
    assert np.allclose(log_mel(np.zeros(800, np.int16), RATE_HZ, PARAMS), np.log(1e-6))
    quiet, loud = (log_mel(_tone(1000, amplitude=a), RATE_HZ, PARAMS).max() for a in (0.05, 0.5))
    assert loud - quiet == pytest.approx(np.log(100), abs=0.01)


def test_filters_overlap_to_one_between_the_first_and_last_centre() -> None:
    filters = mel_filters(RATE_HZ, 512, 20)
    assert filters.shape == (257, 20)
    assert np.allclose(filters[8:220].sum(axis=1), 1, atol=1e-5)


def test_a_spectrum_has_the_same_bits_on_any_number_of_threads() -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, 3 * RATE_HZ, np.int16)
    wide = {**PARAMS, "n_mels": 80, "window_ms": 60.0, "max_frames": 200}
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(log_mel(noise, RATE_HZ, wide))
    assert np.array_equal(*found)
    # and it is the product with the filters
    power = np.exp(found[0].astype(np.float64)) - 1e-6
    frames = np.lib.stride_tricks.sliding_window_view(noise / 32768, 960)[::160][:200]
    whole = np.abs(np.fft.rfft(frames * np.hanning(961)[:-1], 1024)) ** 2 / 1024 @ mel_filters(RATE_HZ, 1024, 80)
    assert np.allclose(power, whole, rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), [(16, 40), (40, 16), (8, 8), (3, 5)])
def test_the_centre_of_a_picture_is_kept(height: int, width: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = [255, 0, 7]
    small = small_picture(picture, 0, PARAMS)
    assert small.shape == (8, 8, 3)
    assert small.dtype == np.uint8
    assert (small == [255, 0, 7]).all()


def test_a_picture_of_the_right_size_is_untouched() -> None:
    picture = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    assert (small_picture(picture, 0, PARAMS) == picture).all()


def test_text_is_cut_in_bytes() -> None:
    assert text_bytes("äbcdef", 0, PARAMS).tolist() == list("äbcd".encode())[:5]
    assert text_bytes("a", 0, PARAMS).tolist() == [97]


def test_frames_are_scaled_one_by_one_like_pictures() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    frames = small_frames(clip, 0, PARAMS)
    assert (frames.shape, frames.dtype) == ((3, 6, 6, 3), np.uint8)
    for frame, small in zip(clip, frames, strict=True):
        assert (small == small_picture(frame, 0, {"image_px": 6})).all()
