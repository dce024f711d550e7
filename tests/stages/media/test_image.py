"""Pictures in canonical form, by value."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.media.canonical import Canonical, Undecodable
from tasks.media.image import _scaled_jpeg, decode_image

LIMITS = {"image_px": 64, "max_pixels": 100_000}
RED, WHITE = [255, 0, 0], [255, 255, 255]


def _encode(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, kind, **options)
    return sink.getvalue()


def _pixels(canonical: Canonical) -> np.ndarray:
    return np.frombuffer(canonical.data, np.uint8).reshape(canonical.shape)


def _decode(picture: Image.Image, kind: str = "PNG", **options: Any) -> np.ndarray:
    return _pixels(decode_image(_encode(picture, kind, **options), LIMITS))


def test_rgb_is_kept_bit_by_bit() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (_decode(Image.fromarray(pixels)) == pixels).all()


@pytest.mark.parametrize(
    ("orientation", "where"),
    [(1, (0, 0)), (2, (0, 2)), (3, (1, 2)), (4, (1, 0)), (5, (0, 0)), (6, (0, 1)), (8, (2, 0))],
)
def test_exif_orientation_is_applied(orientation: int, where: tuple[int, int]) -> None:
    picture = Image.new("RGB", (3, 2))
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = _decode(picture, exif=exif)
    assert pixels.shape == ((2, 3, 3) if orientation < 5 else (3, 2, 3))
    assert [tuple(place) for place in np.argwhere((pixels == RED).all(axis=2))] == [where]


def test_transparency_is_laid_on_white() -> None:
    picture = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 255, 51)):
        picture.putpixel((x, 0), (255, 0, 0, alpha))
    assert _decode(picture).tolist() == [[WHITE, RED, [255, 204, 204]]]


def test_a_palette_with_a_transparent_colour() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 255, 255, 0, 0])
    picture.putpixel((1, 0), 1)
    assert _decode(picture, transparency=0).tolist() == [[WHITE, RED]]


def test_sixteen_bits_are_scaled_by_the_formats_range() -> None:
    grey = np.array([[0, 257, 65_535]], dtype=np.uint16)
    assert _decode(Image.fromarray(grey))[0, :, 0].tolist() == [0, 1, 255]


def test_float_pixels_are_scaled_and_nan_is_refused() -> None:
    grey = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    assert _decode(Image.fromarray(grey), "TIFF")[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(Undecodable, match="not-finite-image"):
        _decode(Image.fromarray(np.array([[np.nan, 1.0]], dtype=np.float32)), "TIFF")


def test_cmyk_grey_and_one_bit() -> None:
    assert _decode(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "TIFF").tolist() == [[RED]]
    assert _decode(Image.new("L", (1, 1), 7)).tolist() == [[[7, 7, 7]]]
    assert _decode(Image.new("1", (1, 1), 1)).tolist() == [[WHITE]]


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    assert _decode(frames[0], "GIF", save_all=True, append_images=frames[1:])[0, 0].tolist() == RED


def test_an_animation_is_decoded_in_every_frame_up_to_100() -> None:
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(99)]
    data = _encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert decode_image(data, LIMITS).shape == (8, 8, 3)
    at = data.rindex(b"fdAT") + 12
    with pytest.raises(Undecodable, match="image"):
        decode_image(data[:at] + b"\xff" * 40 + data[at + 40 :], LIMITS)


def _photo(size: tuple[int, int], mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG with soft shapes and grain."""
    rng = np.random.default_rng(3)
    soft = Image.fromarray(rng.integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8)).resize(size)
    grainy = np.asarray(soft).astype(int) + rng.integers(-12, 12, (size[1], size[0], 3))
    picture = Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).convert(mode)
    return _encode(picture, "JPEG", **options)


@pytest.mark.parametrize("size", [(384, 200), (600, 400), (1000, 350), (400, 1200), (640, 640), (1021, 733)])
@pytest.mark.parametrize("options", [{"quality": 75}, {"quality": 95, "subsampling": 0}, {"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_scaled_decoding_stays_near_pillows(
    size: tuple[int, int], options: dict[str, Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = _photo(size, mode, exif=exif, **options)
    limits = LIMITS | {"max_pixels": 1_000_000}
    fast = _pixels(decode_image(data, limits)).astype(int)
    monkeypatch.setattr("tasks.media.image._scaled_jpeg", lambda *arguments: None)
    slow = _pixels(decode_image(data, limits)).astype(int)
    difference = np.abs(fast - slow)
    assert difference.max() <= 8
    assert difference.mean() <= 1


def test_large_jpegs_take_the_fast_path() -> None:
    for size, taken in (((383, 135), False), ((384, 135), True)):
        data = _photo(size)
        with Image.open(io.BytesIO(data)) as opened:
            scaled = _scaled_jpeg(data, opened, 64)
            assert (scaled is not None) is taken
            assert scaled is None or scaled.size == (64, 22)
            assert _scaled_jpeg(data[: len(data) // 2], opened, 64) is None


@pytest.mark.parametrize(
    ("size", "shape"), [((128, 64), (32, 64, 3)), ((64, 10), (10, 64, 3)), ((5000, 2), (1, 64, 3))]
)
def test_the_longest_side_is_bounded(size: tuple[int, int], shape: tuple[int, ...]) -> None:
    assert _decode(Image.new("RGB", size)).shape == shape


@pytest.mark.parametrize("size", [(400, 300), (1000, 900)])
def test_a_bomb_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Undecodable, match="too-many-pixels"):
        _decode(Image.new("1", size))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = _encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)), kind)
    with pytest.raises(Undecodable) as error:
        decode_image(data[: len(data) // 2], LIMITS)
    assert error.value.reason == "truncated-image"


@pytest.mark.parametrize("data", [b"", b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(Undecodable) as error:
        decode_image(data, LIMITS)
    assert error.value.reason == "unreadable-image"


def test_random_damage_is_always_an_undecodable_or_a_picture() -> None:
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"):
        data = _encode(Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)), kind)
        for _ in range(60):
            spoilt = np.frombuffer(data, np.uint8).copy()
            spoilt[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
            try:
                assert decode_image(spoilt.tobytes(), LIMITS).shape[2] == 3
            except Undecodable as error:
                assert error.reason.endswith(("-image", "-pixels"))  # noqa: PT017
