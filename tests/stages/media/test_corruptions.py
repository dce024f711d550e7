"""Corruptions by value: as strong as they say, the same for the same draws, and of no other shape or type."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.media.corruptions import (
    JPEG_QUALITY,
    NOISE_SHARE,
    SEVERITIES,
    SNR_DB,
    TYPO_SHARE,
    add_noise,
    blur,
    compress,
    corrupt_sound,
    mistype,
)
from tasks.media.synthetic import make_pictures, make_sound
from tasks.modalities import MODALITIES, all_corruptions

RATE_HZ = 16_000


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tone(hz: float) -> np.ndarray:
    return np.round(10_000 * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)).astype(np.int16)


def loudness(pcm: np.ndarray) -> float:
    return float(np.sqrt(np.square(pcm.astype(float)).mean()))


def test_noise_spreads_as_far_as_it_says() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    for severity, share in zip(SEVERITIES[:3], NOISE_SHARE[:3], strict=True):  # beyond, black and white cut it off
        assert (add_noise(grey, severity, rng()) / 255).std() == pytest.approx(share, rel=0.03)


def test_blur_and_compression_grow_with_the_severity() -> None:
    (picture,) = make_pictures(3, 1)
    edges = [np.abs(np.diff(blur(picture, severity, rng()).astype(int), axis=1)).max() for severity in SEVERITIES]
    assert edges == sorted(edges, reverse=True)
    assert edges[0] > 2 * edges[-1]
    noisy = add_noise(picture, 1, rng())
    apart = [np.abs(compress(noisy, severity, rng()).astype(int) - noisy).mean() for severity in SEVERITIES]
    assert apart == sorted(apart)
    assert len(apart) == len(JPEG_QUALITY)
    assert (blur(np.full((9, 9, 3), 7, np.uint8), 5, rng()) == 7).all()


def test_sound_has_the_stated_ratio_of_signal_to_noise() -> None:
    for severity, ratio_db in zip(SEVERITIES, SNR_DB, strict=True):
        noise = corrupt_sound(tone(440), RATE_HZ, "noise", severity, rng()).astype(float) - tone(440)
        assert 20 * np.log10(loudness(tone(440)) / loudness(noise)) == pytest.approx(ratio_db, abs=0.3)


def test_a_telephone_lets_voices_through_and_little_else() -> None:
    inside, low, high = (corrupt_sound(tone(hz), RATE_HZ, "telephone", 3, rng()) for hz in (1000, 100, 6800))
    assert loudness(inside) == pytest.approx(loudness(tone(1000)), rel=0.02)
    assert loudness(low) < loudness(tone(100)) / 10 ** (36 / 20)
    assert loudness(high) < loudness(tone(6800)) / 10 ** (20 / 20)
    wide, narrow = (corrupt_sound(tone(2500), RATE_HZ, "telephone", severity, rng()) for severity in (1, 5))
    assert loudness(narrow) < loudness(wide) / 2


def test_as_many_characters_are_mistyped_as_it_says_and_words_stay_apart() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 50
    for severity, share in zip(SEVERITIES, TYPO_SHARE, strict=True):
        typed = mistype(text, severity, rng())
        assert typed.count(" ") == text.count(" ")
        same = sum(a == b for a, b in zip(typed.split(" "), text.split(" "), strict=True)) / len(text.split(" "))
        assert same == pytest.approx((1 - share) ** 3.9, abs=0.08)  # words of about four letters
    assert mistype(text, 3, rng()) == mistype(text, 3, rng())
    assert all(mistype("a", 5, np.random.default_rng(seed)) for seed in range(40)), "a text is never empty"
    assert mistype("数字 七", 5, rng()).strip()


def test_every_corruption_gives_a_medium_of_the_same_form() -> None:
    sound, rate_hz = make_sound(1)
    media = {"image": make_pictures(1, 1)[0], "video": np.stack(make_pictures(1, 3)), "audio": sound, "text": "a text"}
    named = all_corruptions(tuple(MODALITIES))
    assert {name.partition("/")[0] for name in named} == set(media)
    for name in named:
        modality, _, kind = name.partition("/")
        medium = media[modality]
        for severity in SEVERITIES:
            found, again = (MODALITIES[modality].corrupt(medium, rate_hz, kind, severity, rng()) for _ in range(2))  # type: ignore[index]
            assert type(found) is type(medium)
            assert np.array_equal(found, again)
            if isinstance(medium, np.ndarray):
                assert (found.dtype, found.shape) == (medium.dtype, medium.shape)
