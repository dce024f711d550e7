"""Pictures: any file that Pillow knows from the allow-list becomes RGB, upright, of a bounded side."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.media.canonical import Canonical, Undecodable
from tasks.media.video import UNREADABLE, decode_video

_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError)
"""What Pillow's parsers raise on damaged files; anything else costs the worker, and still only this file."""
_FRAMES_CHECKED = 100
_ORIENTATION = 0x0112  # the EXIF tag
_SPARE = 3  # as Pillow's reducing_gap: with twice the size, differences of 11 levels were seen
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""Checked against the content, never the file's ending."""


def decode_image(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The picture as uint8 (H, W, 3), EXIF orientation applied, transparency laid on white, the first frame of many.

    Under `image_from_video` a clip is taken, too: the frame in its middle. Raises Undecodable: `unreadable-image`,
    `truncated-image`, `too-many-pixels`, `not-finite-image`.
    """
    Image.MAX_IMAGE_PIXELS = int(limits["max_pixels"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd metadata of a picture that decodes
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                side = int(limits["image_px"])
                loaded = _scaled_jpeg(data, opened, side)
                if loaded is None:
                    opened.load()
                    loaded = opened
                picture = _bounded(_rgb(ImageOps.exif_transpose(loaded)), side)
                for frame in range(1, min(getattr(opened, "n_frames", 1), _FRAMES_CHECKED)):
                    opened.seek(frame)  # a damaged or oversized later frame says that the file is not what it seems
                    opened.load()
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Undecodable("too-many-pixels", str(error)) from None
        except UnidentifiedImageError:
            if limits.get("image_from_video"):
                return _frame(data, limits)
            raise Undecodable("unreadable-image", f"not one of {', '.join(FORMATS)}") from None
        except (*_BROKEN, EOFError, struct.error, zlib.error) as error:
            reason = "truncated-image" if "truncated" in str(error).lower() else "unreadable-image"
            raise Undecodable(reason, f"{type(error).__name__}: {error}") from None
    array = np.asarray(picture, dtype=np.uint8)
    return Canonical(array.shape, array.tobytes())


def _frame(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The frame in the middle of a clip, bounded like a picture. Refused for a clip's reasons, or as neither of both."""
    try:
        clip = decode_video(data, {**limits, "video_frames": 1, "video_px": limits["image_px"]})
    except Undecodable as error:
        if error.reason != UNREADABLE:
            raise
        raise Undecodable("unreadable-image", f"not one of {', '.join(FORMATS)}, nor a clip: {error.detail}") from None
    return Canonical(clip.shape[1:], clip.data, None, clip.warning)


def _scaled_jpeg(data: bytes, opened: Image.Image, side: int) -> Image.Image | None:
    """A large JPEG, decoded at n eighths of its size, at most a half but at least _SPARE times what is kept, and scaled.

    Half the time at 12 megapixels; what is kept differs from Pillow's by at most 8 of 256 levels, 1 in the mean (a test).
    None where Pillow must do it: small, CMYK, or so damaged that libjpeg has something to say.
    """
    if opened.format != "JPEG" or opened.mode not in ("RGB", "L") or max(opened.size) < 2 * _SPARE * side:
        return None
    least = [max(1, _SPARE * side * length // max(opened.size)) for length in opened.size]
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_width=least[0], min_height=least[1], min_factor=2)
    except ValueError:
        return None
    eighths = round(8 * pixels.shape[1] / opened.width)
    width, height = (
        length * eighths / 8 for length in opened.size
    )  # the last row and column may hold a part of a pixel
    box = (0.0, 0.0, min(width, pixels.shape[1]), min(height, pixels.shape[0]))
    picture = Image.fromarray(pixels).resize(_bounded_size(opened.size, side), Image.Resampling.BILINEAR, box)
    picture.getexif()[_ORIENTATION] = opened.getexif().get(_ORIENTATION, 1)
    return picture


def _rgb(picture: Image.Image) -> Image.Image:
    """RGB, with transparency laid on white and 16-bit grey scaled to 8 bits."""
    if picture.mode.startswith("I") or picture.mode == "F":
        grey = np.asarray(picture, dtype=np.float64)
        low, high = float(grey.min()), float(grey.max())
        if not np.isfinite(high - low):
            raise Undecodable("not-finite-image", "NaN or infinite pixels")
        if picture.mode.startswith("I;16") or (picture.mode == "I" and low >= 0 and high <= 65_535):
            low, high = 0.0, 65_535.0  # the range of the format, so that a dark picture stays dark
        scaled = (grey - low) / (high - low) * 255.0 if high > low else np.zeros_like(grey)
        return Image.fromarray(scaled.round().astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        layered = picture.convert("RGBA")
        paper = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, layered).convert("RGB")
    return picture.convert("RGB")


def _bounded(picture: Image.Image, side: int) -> Image.Image:
    if max(picture.size) <= side:
        return picture
    return picture.resize(_bounded_size(picture.size, side), Image.Resampling.BILINEAR, reducing_gap=3.0)


def _bounded_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
