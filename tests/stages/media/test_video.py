"""Clips in canonical form, by value; and sound that libsndfile does not read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tasks.config_sections import MediaConfig
from tasks.media.audio import decode_audio
from tasks.media.canonical import Canonical, Undecodable
from tasks.media.video import decode_video

LIMITS = MediaConfig().model_dump(mode="json")
MakeClip = Callable[..., bytes]


def _clip(canonical: Canonical) -> np.ndarray:
    return np.frombuffer(canonical.data, np.uint8).reshape(canonical.shape)


def _numbers(canonical: Canonical) -> list[int]:
    """Which frames were taken of a clip whose frames are each 8 levels brighter."""
    return [round(level / 8) for level in _clip(canonical).mean(axis=(1, 2, 3))]


@pytest.mark.parametrize(
    ("kind", "codec"), [("mp4", "mpeg4"), ("matroska", "mpeg4"), ("avi", "mpeg4"), ("mpeg", "mpeg1video")]
)
@pytest.mark.parametrize(
    ("frames", "numbers"),
    [(1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (24, [3, 9, 15, 21]), (30, [3, 11, 18, 26])],
)
def test_frames_are_spaced_evenly(make_clip: MakeClip, kind: str, codec: str, frames: int, numbers: list[int]) -> None:
    canonical = decode_video(make_clip(frames, kind=kind, codec=codec), LIMITS | {"video_frames": 4})
    assert canonical.shape == (len(numbers), 48, 64, 3)
    assert _numbers(canonical) == numbers
    assert canonical.warning is None


def test_the_longest_side_is_bounded(make_clip: MakeClip) -> None:
    clip = make_clip([np.full((120, 240, 3), 9, np.uint8)] * 2)
    assert decode_video(clip, LIMITS | {"video_px": 48}).shape == (2, 24, 48, 3)
    assert decode_video(clip, LIMITS | {"video_px": 512}).shape == (2, 120, 240, 3)


def test_colours_and_places_are_kept(make_clip: MakeClip) -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:32, :48] = (220, 30, 40)
    pixels = _clip(decode_video(make_clip([frame] * 3), LIMITS))[1].astype(int)
    assert np.abs(pixels[4:28, 4:44] - (220, 30, 40)).max() < 12
    assert pixels[36:, 52:].max() < 12


@pytest.mark.parametrize(("turn", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
def test_rotation_is_applied(make_clip: MakeClip, turn: int, corner: tuple[int, int]) -> None:
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[:16, :16] = 255  # a white corner at the top left, as it is stored
    pixels = _clip(decode_video(make_clip([frame] * 2, turn=turn), LIMITS))[0]
    assert pixels.shape == ((64, 96, 3) if turn == 180 else (96, 64, 3))
    assert pixels[corner].min() > 200
    assert np.median(pixels) < 10


@pytest.mark.parametrize(
    ("limits", "numbers", "warning"),
    [
        ({"max_video_s": 0.4}, [1, 3, 6, 8], "cut to 0.4 s or 2000 frames"),
        ({"max_video_frames": 8}, [1, 3, 5, 7], "cut to 30 s or 8 frames"),
    ],
)
def test_a_long_clip_is_cut_with_a_warning(
    make_clip: MakeClip, limits: dict[str, float], numbers: list[int], warning: str
) -> None:
    canonical = decode_video(make_clip(30), LIMITS | {"video_frames": 4} | limits)
    assert (_numbers(canonical), canonical.warning) == (numbers, warning)


def test_too_many_pixels_are_refused_before_decoding(make_clip: MakeClip) -> None:
    with pytest.raises(Undecodable, match="too-many-pixels: 64 x 48"):
        decode_video(make_clip(2), LIMITS | {"max_pixels": 3000})


def test_a_download_that_broke_off_is_truncated(make_clip: MakeClip) -> None:
    whole = make_clip([np.random.default_rng(n).integers(0, 256, (48, 64, 3), dtype=np.uint8) for n in range(20)])
    at = whole.index(b"moov") - 4
    # An MP4 as it is served: the index first, so that a broken-off one still opens.
    index, media = whole[at:], whole[:at]
    for table in (b"stco",):
        place = index.index(table) + 12
        offset = int.from_bytes(index[place : place + 4], "big")
        head = media.index(b"mdat") - 4
        index = index[:place] + (offset + len(index)).to_bytes(4, "big") + index[place + 4 :]
    served = media[:head] + index + media[head:]
    assert decode_video(served, LIMITS).shape[0] == 8
    with pytest.raises(Undecodable, match="truncated-video"):
        decode_video(served[: len(served) * 3 // 4], LIMITS)


@pytest.mark.parametrize(
    "data", [b"", b"no clip", b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", b"RIFF....AVI LIST"]
)
def test_what_is_no_clip_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable) as error:
        decode_video(data, LIMITS)
    assert error.value.reason == "unreadable-video"
    assert "\n" not in error.value.detail


def test_random_damage_is_always_an_undecodable_or_a_clip(make_clip: MakeClip) -> None:
    rng = np.random.default_rng(1)
    outcomes = set()
    for kind, codec in (("mp4", "mpeg4"), ("matroska", "mpeg4"), ("mpeg", "mpeg1video")):
        data = make_clip(6, kind=kind, codec=codec, sound_s=0.1 if kind == "mp4" else 0.0)
        for _ in range(40):
            spoilt = np.frombuffer(data, np.uint8).copy()
            spoilt[rng.integers(0, len(data), 12)] = rng.integers(0, 256, 12)
            for decode in (decode_video, decode_audio):
                try:
                    outcomes.add(len(decode(spoilt.tobytes(), LIMITS).shape))
                except Undecodable as error:
                    outcomes.add(error.reason)
    assert {4, "unreadable-video"} <= outcomes


def test_a_digest_says_nothing_of_the_container(make_clip: MakeClip) -> None:
    one, same, other = (
        decode_video(make_clip(n, kind=kind), LIMITS) for n, kind in ((6, "mp4"), (6, "matroska"), (7, "mp4"))
    )
    assert one.digest == same.digest != other.digest


# -- sound in containers that libsndfile does not know --


@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_the_sound_of_a_clip(make_clip: MakeClip, kind: str) -> None:
    canonical = decode_audio(make_clip(10, sound_s=0.5, kind=kind), LIMITS)
    pcm = np.frombuffer(canonical.data, "<i2") / 32_767
    assert canonical.rate_hz == 16_000
    assert len(pcm) == pytest.approx(8000, abs=2100)  # AAC has blocks of 1024, and a lead-in
    strongest = np.abs(np.fft.rfft(pcm[2048:6144])).argmax() * 16_000 / 4096
    assert strongest == pytest.approx(440, abs=4)
    assert np.abs(pcm).max() == pytest.approx(0.5, abs=0.1)


def test_the_sound_of_a_clip_is_cut_like_any_other(make_clip: MakeClip) -> None:
    canonical = decode_audio(make_clip(4, sound_s=0.5), LIMITS | {"max_audio_s": 0.2})
    assert (canonical.shape, canonical.warning) == ((3200,), "cut to 0.2 s")


def test_a_clip_without_sound_says_so(make_clip: MakeClip) -> None:
    with pytest.raises(Undecodable, match="no-sound"):
        decode_audio(make_clip(3), LIMITS)
