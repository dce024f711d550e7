"""Sound and text in canonical form, by value."""

from __future__ import annotations

import io
import re
import struct
from typing import Any

import numpy as np
import pytest
import soundfile

from tasks.media.audio import decode_audio
from tasks.media.canonical import Canonical, Undecodable
from tasks.media.text import decode_text

LIMITS = {"sample_rate_hz": 16_000, "max_audio_s": 2.0, "max_text_chars": 10}


def _wav(samples: np.ndarray, rate_hz: int = 16_000, **options: Any) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate_hz, format=options.pop("format", "WAV"), **options)
    return sink.getvalue()


def _pcm(canonical: Canonical) -> np.ndarray:
    return np.frombuffer(canonical.data, "<i2")


def _tone(rate_hz: int, hz: float = 440.0, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def test_sixteen_bits_at_the_stated_rate_are_kept_to_one_step() -> None:
    samples = np.array([0, 1000, -1000, 32_767, -32_768], dtype=np.int16)
    canonical = decode_audio(_wav(samples), LIMITS)
    assert np.abs(_pcm(canonical).astype(int) - samples).max() <= 1
    assert (canonical.shape, canonical.rate_hz, canonical.warning) == ((5,), 16_000, None)


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 44_100, 48_000])
def test_every_rate_becomes_the_stated_one(rate_hz: int) -> None:
    pcm = _pcm(decode_audio(_wav(_tone(rate_hz), rate_hz), LIMITS)) / 32_767
    expected = _tone(16_000)
    assert len(pcm) == pytest.approx(8000, abs=2)
    assert np.abs(pcm[500:-500] - expected[500 : len(pcm) - 500]).max() < 0.01


def test_channels_are_averaged() -> None:
    stereo = np.stack([np.full(100, 0.5), np.full(100, -0.25)], axis=1)
    assert _pcm(decode_audio(_wav(stereo, subtype="FLOAT"), LIMITS)).tolist() == [round(0.125 * 32_767)] * 100


def test_float_beyond_full_scale_is_scaled_down_not_clipped() -> None:
    loud = np.array([4.0, 2.0, -1.0])
    assert _pcm(decode_audio(_wav(loud, subtype="FLOAT"), LIMITS)).tolist() == [32_767, 16_384, -8192]


def test_silence_is_kept_with_a_warning() -> None:
    assert decode_audio(_wav(np.zeros(100)), LIMITS).warning == "silent"


def test_long_sound_is_cut_with_a_warning() -> None:
    canonical = decode_audio(_wav(_tone(8000, seconds=3), 8000), LIMITS)
    assert (canonical.shape, canonical.warning) == ((32_000,), "cut to 2 s")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_sound_is_refused(value: float) -> None:
    with pytest.raises(Undecodable, match="not-finite-audio"):
        decode_audio(_wav(np.array([0.0, value]), subtype="FLOAT"), LIMITS)


@pytest.mark.parametrize(("frames", "rate_hz"), [(0, 16_000), (1, 192_000)])
def test_no_frames_are_refused(frames: int, rate_hz: int) -> None:
    with pytest.raises(Undecodable, match="empty-audio"):
        decode_audio(_wav(np.zeros(frames), rate_hz), LIMITS | {"sample_rate_hz": 4000})


def test_a_truncated_flac_is_refused() -> None:
    data = _wav(np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), format="FLAC")
    with pytest.raises(Undecodable) as error:
        decode_audio(data[: len(data) // 2], LIMITS)
    assert error.value.reason in ("truncated-audio", "unreadable-audio")


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"no sound", _wav(np.zeros(9))[:20], b"RIFF" + struct.pack("<I", 9) + b"WAVE"]
)
def test_what_is_no_sound_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable) as error:
        decode_audio(data, LIMITS)
    assert error.value.reason == "unreadable-audio"
    assert "0x" not in error.value.detail


@pytest.mark.parametrize(
    ("data", "text", "warning"),
    [
        (b"  words \n", "words", None),
        ("e\u0301".encode(), "\u00e9", None),
        ("e\u200f\u0301".encode(), "\u00e9", "1 control characters stripped"),
        ("\ufeffa\u202eb\x07c\u061c".encode(), "abc", "4 control characters stripped"),
        (b"tab\tend\r\nof", "tab\tend\r\no", "cut to 10 of 11 characters"),
        ("0123456789äöü".encode(), "0123456789", "cut to 10 of 13 characters"),
    ],
)
def test_text_is_cleaned(data: bytes, text: str, warning: str | None) -> None:
    canonical = decode_text(data, LIMITS)
    assert (canonical.data.decode(), canonical.warning) == (text, warning)
    assert canonical.shape == (len(text),)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\x00b", "unreadable-text"),
        (b"\xff\xfea", "unreadable-text"),
        (b"caf\xe9", "unreadable-text"),
        (bytes(range(128, 256)), "unreadable-text"),
        ("\ud800".encode("utf-8", "surrogatepass"), "unreadable-text"),
        (b" \n", "empty-text"),
        ("\u200f\ufeff".encode(), "empty-text"),
    ],
)
def test_text_that_cannot_be_used(data: bytes, reason: str) -> None:
    with pytest.raises(Undecodable) as error:
        decode_text(data, LIMITS)
    assert error.value.reason == reason


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_is_believed(encoding: str) -> None:
    canonical = decode_text("größer".encode(encoding), LIMITS)
    assert canonical.data.decode() == "größer"
    named = (
        "1 control characters stripped" if encoding == "utf-8-sig" else f"not UTF-8, read as {encoding} (by its mark)"
    )
    assert str(canonical.warning).startswith(named)


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (
            "Die Straße führt über die Brücke, und später wird es draußen schön und kühl.",
            "latin-1",
            "cp125[02]",
        ),  # 1250 and 1252 agree on it
        ("A língua não é difícil para quem já fala outra; então é só começar.", "cp1252", "cp1252"),
        ("Сегодня хорошая погода, и мы пойдём гулять в большой городской парк.", "cp1251", "cp1251"),
        ("Сегодня хорошая погода, и мы пойдём гулять в большой городской парк.", "koi8_r", "koi8_r"),
    ],
)
def test_another_encoding_is_detected_and_named(text: str, encoding: str, named: str) -> None:
    canonical = decode_text(text.encode(encoding), LIMITS | {"max_text_chars": 1000})
    assert canonical.data.decode() == text
    assert re.match(rf"not UTF-8, read as {named} \(detected, coherence 0\.\d\)$", str(canonical.warning))


def test_a_long_text_is_detected_on_its_beginning() -> None:
    line = "Сегодня хорошая погода, и мы пойдём гулять в большой городской парк.\n"
    canonical = decode_text((line * 3000).encode("cp1251"), LIMITS | {"max_text_chars": 200})
    assert canonical.data.decode() == (line * 3)[:200]


def test_equal_content_has_equal_digests_whatever_the_file() -> None:
    tone = (_tone(16_000) * 32_768).astype(np.int16)
    one, other = decode_audio(_wav(tone), LIMITS), decode_audio(_wav(tone, format="FLAC"), LIMITS)
    assert one.digest == other.digest
    assert Canonical((2,), b"ab").digest != Canonical((1, 2), b"ab").digest
