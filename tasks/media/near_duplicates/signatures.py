"""By what near repeats of one canonical medium are found: a code for candidates and a form on which they are confirmed.

image   a 64-bit perceptual hash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions");
        confirmed by the correlation of grey 32 x 32 thumbnails and the mean difference of their colours. Not under
        64 px: at 28 px, hashes of different digits collide.
text    128 min-wise hashes of character 5-grams (Broder 1997, "On the resemblance and containment of documents");
        confirmed by the share of equal hashes, which estimates the Jaccard index. Not under 32 characters, where one
        word is the difference that matters.

Sounds: sounds.py; clips: clips.py; what was cut off a picture, or mirrored: crops.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tasks.media.near_duplicates.candidates import Pairs, candidate_pairs, parts_of, similar_codes
from tasks.media.near_duplicates.crops import match_crops

Array = np.ndarray[Any, Any]
IMAGE_PX = 64
TEXT_CHARS = 32

# Measured on pictures of cifar10_12k scaled to 96 px. 800 pictures and their copies (JPEG at quality 30, scaled to 64 px,
# brightened by a tenth): at most 6 bits apart, correlated by at least 0.977. 3,000 different pictures of one class: two
# pairs above 0.97, both true repeats; the next at 0.962.
_CODE_DISTANCE = 10
_IMAGE_CORRELATION = 0.97
_IMAGE_DIFFERENCE = 16.0
_THUMB_PX, _COLOUR_PX, _FINE_PX = 32, 8, 48
_THUMB = _THUMB_PX**2 + 3 * _COLOUR_PX**2
"""Bytes of what pictures are confirmed by that show the same as a whole."""
_SHINGLE, _HASHES, _BANDS = 5, 128, 32
_TEXT_OVERLAP = 0.85


@dataclass(frozen=True)
class Signature:
    """What is kept of one medium."""

    code: bytes
    form: bytes


# -- pictures ---


def sign_image(pixels: Array) -> Signature | None:
    """Of uint8 (H, W, 3); None where a side is under 64 px."""
    if min(pixels.shape[:2]) < IMAGE_PX:
        return None
    grey, colours = thumbnail(pixels)
    return Signature(grey_hash(grey).tobytes(), grey.tobytes() + colours.tobytes() + _fine(pixels).tobytes())


def _fine(pixels: Array) -> Array:
    """uint8 (48, 48) in grey, on which cropped copies are confirmed."""
    from PIL import Image

    picture = Image.fromarray(pixels).convert("L").resize((_FINE_PX, _FINE_PX), Image.Resampling.BOX)
    return np.asarray(picture, np.uint8)


def thumbnail(pixels: Array) -> tuple[Array, Array]:
    """What is compared of a picture: uint8 (32, 32) in grey, and (8, 8, 3) in colour."""
    from PIL import Image

    picture = Image.fromarray(pixels).resize((_THUMB_PX, _THUMB_PX), Image.Resampling.BOX)
    grey = np.asarray(picture.convert("L"), np.uint8)
    return grey, np.asarray(picture.resize((_COLOUR_PX, _COLOUR_PX), Image.Resampling.BOX), np.uint8)


@cache
def _cosines() -> Array:
    """(8, 32): the first eight rows of the DCT-II."""
    places = np.arange(_THUMB_PX) + 0.5
    return np.cos(np.pi / _THUMB_PX * np.outer(np.arange(8), places))


def grey_hash(grey: Array) -> Array:
    """Of (32, 32) levels of grey, one uint64: which of the 8 x 8 lowest frequencies lie above their median.

    0 for a picture of one tone.
    """
    low = (_cosines() @ grey.astype(np.float64) @ _cosines().T).ravel()
    low[0] = 0.0  # the mean brightness says nothing of the picture
    bits = low > np.median(low) if np.abs(low).max() > _THUMB_PX else np.zeros(64, bool)
    return np.packbits(bits, bitorder="little").view("<u8")


def match_images(signatures: list[Signature]) -> Pairs:
    """Pairs of pictures that show the same, or one of which is a crop, a mirror image or a captioned copy, as positions."""
    codes = np.frombuffer(b"".join(p.code for p in signatures), "<u8")
    pairs = similar_codes(codes, _CODE_DISTANCE)
    forms = np.frombuffer(b"".join(p.form for p in signatures), np.uint8).reshape(len(signatures), -1)
    thumbs = forms[:, :_THUMB]
    kept = [part[confirm_images(thumbs[part[:, 0]], thumbs[part[:, 1]])] for part in parts_of(pairs)]
    grey, colours, fine = np.split(forms, [_THUMB_PX**2, _THUMB], axis=1)
    crops = match_crops(
        grey.reshape(-1, _THUMB_PX, _THUMB_PX),
        fine.reshape(-1, _FINE_PX, _FINE_PX),
        colours.reshape(-1, _COLOUR_PX, _COLOUR_PX, 3),
    )
    return np.unique(np.concatenate([*kept, crops]), axis=0)


def confirm_images(one: Array, other: Array) -> Array:
    """(N,) whether the forms (N, bytes) of pictures show the same."""
    one, other = one.astype(np.float32), other.astype(np.float32)
    cut = _THUMB_PX * _THUMB_PX
    tints = [form[:, cut:] - form[:, cut:].mean(axis=1, keepdims=True) for form in (one, other)]
    alike = np.abs(tints[0] - tints[1]).mean(axis=1) <= _IMAGE_DIFFERENCE  # a brighter copy is a copy, a red one is not
    one, other = (form[:, :cut] - form[:, :cut].mean(axis=1, keepdims=True) for form in (one, other))
    energy = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    blank = np.abs(one - other).mean(axis=1) <= 1.0  # of one tone: nothing to correlate
    right: Array = alike & (((one * other).sum(axis=1) >= _IMAGE_CORRELATION * np.maximum(energy, 1e-6)) | blank)
    return right


# -- texts ---


@cache
def _factors() -> tuple[Array, Array]:
    """(128, 1) odd multipliers and (128, 1) offsets of the hash functions."""
    draw = np.random.default_rng(20).integers(0, 2**63, (2, _HASHES, 1), dtype=np.uint64)
    return draw[0] | np.uint64(1), draw[1]


def sign_text(text: str) -> Signature | None:
    """Case and white space do not count; None under 32 characters."""
    letters = np.frombuffer(" ".join(text.casefold().split()).encode("utf-32-le"), "<u4").astype(np.uint64)
    if len(letters) < TEXT_CHARS:
        return None
    grams = np.zeros(len(letters) - _SHINGLE + 1, np.uint64)
    for place in range(_SHINGLE):
        grams = grams * np.uint64(0x9E3779B97F4A7C15) + letters[place : len(grams) + place]
    grams = np.unique(grams)
    grams ^= grams >> np.uint64(29)
    multiply, add = _factors()
    lowest = np.concatenate([_lowest(grams, multiply[n : n + 16], add[n : n + 16]) for n in range(0, _HASHES, 16)])
    return Signature(b"", lowest.astype("<u4").tobytes())


def _lowest(grams: Array, multiply: Array, add: Array) -> Array:
    """The upper 32 bits of the smallest of multiply x gram + add (mod 2^64), per hash function."""
    lowest: Array = (grams[None, :] * multiply + add).min(axis=1) >> np.uint64(32)
    return lowest


def match_texts(signatures: list[Signature]) -> Pairs:
    """Pairs of texts whose sets of 5-grams overlap by an estimated 85 %."""
    hashes = np.frombuffer(b"".join(p.form for p in signatures), "<u4").reshape(len(signatures), _HASHES)
    bands = hashes.reshape(len(signatures), _BANDS, -1).astype(np.uint64)
    mixed = np.zeros((len(signatures), _BANDS), np.uint64)
    for place in range(bands.shape[2]):
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + bands[:, :, place]
    pairs = candidate_pairs(mixed.T, hashes[:, 0])
    kept = [(hashes[part[:, 0]] == hashes[part[:, 1]]).mean(axis=1) >= _TEXT_OVERLAP for part in parts_of(pairs)]
    return pairs[np.concatenate(kept)] if kept else pairs
