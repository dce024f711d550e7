"""By what near repeats of one canonical medium are found: a code for candidates and a form on which they are confirmed.

image   a 64-bit perceptual hash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions");
        confirmed by the correlation of grey 32 x 32 thumbnails and the mean difference of their colours. Not under
        64 px: at 28 px, hashes of different digits collide.

Texts: texts.py; sounds: sounds.py; clips: clips.py; what was cut off a picture, or mirrored: crops.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tasks.media.near_duplicates.candidates import Pairs, parts_of, similar_codes
from tasks.media.near_duplicates.crops import match_crops

Array = np.ndarray[Any, Any]
IMAGE_PX = 64

# Measured on pictures of cifar10_12k scaled to 96 px. 800 pictures and their copies (JPEG at quality 30, scaled to 64 px,
# brightened by a tenth): at most 6 bits apart, correlated by at least 0.977. 3,000 different pictures of one class: two
# pairs above 0.97, both true repeats; the next at 0.962.
_CODE_DISTANCE = 10
_IMAGE_CORRELATION = 0.97
_IMAGE_DIFFERENCE = 16.0
_THUMB_PX, _COLOUR_PX, _FINE_PX = 32, 8, 48
_THUMB = _THUMB_PX**2 + 3 * _COLOUR_PX**2
"""Bytes of what pictures are confirmed by that show the same as a whole."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What is kept of one medium; of all media of a modality as many bytes."""

    code: bytes
    form: bytes


class Signatures(NamedTuple):
    """Those of many media: uint8 (N, bytes) each."""

    codes: Array
    forms: Array


ReadMedia = Callable[[Sequence[int]], Iterator[tuple[int, Array, int]]]
"""Reads the canonical media at these positions again: position, medium, sample rate; in any order."""


def stack(signatures: Sequence[Signature]) -> Signatures:
    """One below the other."""
    columns = ([one.code for one in signatures], [one.form for one in signatures])
    return Signatures(*(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1) for rows in columns))


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


def match_images(signatures: Signatures) -> Pairs:
    """Pairs of pictures that show the same, or one of which is a crop, a mirror image or a captioned copy, as positions."""
    forms = signatures.forms
    pairs = similar_codes(signatures.codes.view("<u8")[:, 0], _CODE_DISTANCE)
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
