"""By what near repeats of a clip are found: a perceptual hash of its mean picture, confirmed frame by frame and by motion.

The kept frames are spread evenly over a clip, so those of a copy (re-encoded, scaled, brightened, at another frame rate) show
nearly the same moments. Four of them are confirmed like pictures. Where a camera stands still, all clips of one person look
alike frame by frame: what changes from frame to frame must be the same, too. A cut or sped-up copy shows other moments and
is not found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.media.near_duplicates.candidates import Pairs, parts_of, similar_codes
from tasks.media.near_duplicates.signatures import IMAGE_PX, Signature, Signatures, confirm_images, grey_hash, thumbnail

Array = np.ndarray[Any, Any]
FRAMES = 4
"""Frames that are compared, spread evenly over those that are kept; a clip of fewer repeats some."""
# Measured on the ten clips of grid_mini and 40 copies (H.264 at CRF 40, MPEG-4, half the size, brightened by 15 %): codes at
# most 6 bits apart, motion correlated by at least 0.69. Different clips: 10 bits or more, motion at most 0.21.
_CODE_DISTANCE = 10
_MOTION = 0.5
_STILL = 0.5
"""Levels of grey by which a clip's thumbnails change on average; below, there is no motion to compare."""
_GREY = 32 * 32


def sign_clip(frames: Array) -> Signature | None:
    """Of uint8 (N, H, W, 3); None where a side is under 64 px."""
    if min(frames.shape[1:3]) < IMAGE_PX:
        return None
    chosen = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
    thumbs = [thumbnail(frames[place]) for place in chosen]
    mean = np.mean([grey for grey, _ in thumbs], axis=0)
    form = b"".join(grey.tobytes() + colours.tobytes() for grey, colours in thumbs)
    return Signature(grey_hash(mean).tobytes(), bytes([min(len(frames), FRAMES)]) + form)


def match_clips(signatures: Signatures) -> Pairs:
    """Pairs of clips that show the same in every compared frame, as positions."""
    pairs = similar_codes(signatures.codes.view("<u8")[:, 0], _CODE_DISTANCE)
    rows = signatures.forms
    counts, forms = rows[:, 0], rows[:, 1:].reshape(len(rows), FRAMES, -1)
    kept = []
    for part in parts_of(pairs, 2048):
        one, other = forms[part[:, 0]], forms[part[:, 1]]
        alike = (counts[part[:, 0]] == counts[part[:, 1]]) & _move_alike(one[..., :_GREY], other[..., :_GREY])
        for frame in range(FRAMES):
            alike &= confirm_images(one[:, frame], other[:, frame])
        kept.append(alike)
    return pairs[np.concatenate(kept)] if kept else pairs


def _move_alike(one: Array, other: Array) -> Array:
    """(P,) whether the changes between the grey frames (P, FRAMES, pixels) of two clips go together, or neither changes."""
    changes = [np.diff(grey.astype(np.float32), axis=1).reshape(len(grey), -1) for grey in (one, other)]
    still = [np.abs(change).mean(axis=1) < _STILL for change in changes]
    energy = np.sqrt((changes[0] ** 2).sum(axis=1) * (changes[1] ** 2).sum(axis=1))
    together = (changes[0] * changes[1]).sum(axis=1) >= _MOTION * np.maximum(energy, 1e-6)
    alike: Array = together | (still[0] & still[1])
    return alike
