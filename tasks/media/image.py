"""Pictures: any file that Pillow knows from the allow-list becomes RGB, upright, of a bounded side."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.media.canonical import Canonical, Undecodable

_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError)
"""What Pillow's parsers raise on damaged files; anything else costs the worker, and still only this file."""
_FRAMES_CHECKED = 50
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""Checked against the content, never the file's ending."""


def decode_image(data: bytes, limits: Mapping[str, Any]) -> Canonical:
    """The picture as uint8 (H, W, 3), EXIF orientation applied, transparency laid on white, the first frame of many.

    Raises Undecodable: `unreadable-image`, `truncated-image`, `too-many-pixels`, `not-finite-image`.
    """
    Image.MAX_IMAGE_PIXELS = int(limits["max_pixels"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd metadata of a picture that decodes
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                opened.load()
                upright = ImageOps.exif_transpose(opened)
                picture = _bounded(_rgb(upright), int(limits["image_px"]))
                for frame in range(1, min(getattr(opened, "n_frames", 1), _FRAMES_CHECKED)):
                    opened.seek(frame)  # a damaged or oversized later frame says that the file is not what it seems
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Undecodable("too-many-pixels", str(error)) from None
        except UnidentifiedImageError:
            raise Undecodable("unreadable-image", f"not one of {', '.join(FORMATS)}") from None
        except (*_BROKEN, EOFError, struct.error, zlib.error) as error:
            reason = "truncated-image" if "truncated" in str(error).lower() else "unreadable-image"
            raise Undecodable(reason, f"{type(error).__name__}: {error}") from None
    array = np.asarray(picture, dtype=np.uint8)
    return Canonical(array.shape, array.tobytes())


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
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
