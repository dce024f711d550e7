"""By what a cropped, mirrored or captioned copy of a picture is found: hashes of its windows, confirmed after alignment.

One picture of a pair is hashed as a whole, without its upper and without its lower part (where captions are), each also
mirrored; the other in 85 windows, which lose up to a tenth at every edge or a caption's part of the height. A copy that
lost as much agrees with one of them. What the hashes agree in is aligned, and its details decide.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.media.near_duplicates.alignment import align, blur, correlate, detail_of, sample
from tasks.media.near_duplicates.candidates import Pairs
from tasks.media.near_duplicates.windows import FREQUENCIES, Candidates, find_candidates, spectra_of

Array = np.ndarray[Any, Any]
_EDGES = (0.0, 0.05, 0.1)
_CAPTION = 0.22
"""Of the height, a little more than a fifth: a thumbnail's pixel at the rim holds some of the caption."""
_ACROSS = tuple((left, 1 - right) for left in _EDGES for right in _EDGES)
_DOWN = (*_ACROSS, (0.0, 0.85), (0.0, 1 - _CAPTION), (0.15, 1.0), (_CAPTION, 1.0))
_WINDOWS = (
    *((*across, *down) for down in _ACROSS for across in _ACROSS),
    *((0.0, 1.0, *down) for down in _DOWN[len(_ACROSS) :]),
)
"""Left, right, upper and lower end, as shares of the sides."""
_WHOLE = _ACROSS[:1]
_REGIONS = ((0.0, 1.0), (0.0, 1 - _CAPTION), (_CAPTION, 1.0))
"""Upper and lower end of what is hashed of a copy; then the same mirrored."""
_PART = 2048
# Measured on 2,000 pictures of cifar10_12k: 99 in 100 copies correlate by 0.963 before they are aligned, and are among the
# three likeliest; half of the others by less than 0.83.
_LIKENESS, _MOST = 0.9, 24
# Measured on 12,000 pictures of cifar10_12k scaled to 96 px and 46 tiles of sharp photographs of 120 x 140 px. Copies: details
# correlated by 0.92 or more in 97 of 100 (JPEG at quality 50 at half the size: 93 of 100). Different
# pictures: details at most 0.89; between the two lie photographs that were cut by more, or retouched.
_LIKELY = 0.8
_CORRELATION = 0.96
_DETAIL = 0.92
_TINT = 16.0
_ROUGH_CELLS, _CELLS, _TINT_CELLS = 16, 32, 6
# Handwritten digits at 96 px have 62 % or more of one tone, 96 of 100 photographs less than half: what is drawn on a plain
# ground can be aligned with too many others.
_PLAIN = 0.55


def match_crops(coarse: Array, fine: Array, colours: Array) -> Pairs:
    """Pairs of which one shows a window of the other, as positions.

    coarse: uint8 (N, 32, 32) and fine: (N, 48, 48) levels of grey; colours: (N, 8, 8, 3).
    """
    regions = np.empty((len(coarse), 2 * len(_REGIONS), FREQUENCIES**2), np.float32)
    for start in range(0, len(coarse), _PART):
        regions[start : start + _PART] = _regions(coarse[start : start + _PART])
    found = find_candidates(lambda low, high: _windows(coarse[low:high]), regions, _LIKENESS, _MOST)
    named = np.union1d(found.medium, found.copy)
    plain = np.zeros(len(coarse), bool)
    plain[named] = _plain_share(fine[named]) > _PLAIN
    kept = [np.empty((0, 2), np.int64)]
    left = np.flatnonzero(~(plain[found.medium] | plain[found.copy]))
    for start in range(0, len(left), _PART):
        part = found.at(left[start : start + _PART])
        same = part.at(np.flatnonzero(_confirm(part, coarse, fine, colours)))
        kept.append(np.stack([same.medium, same.copy], axis=1))
    return np.unique(np.sort(np.concatenate(kept), axis=1), axis=0)


def _windows(grey: Array) -> Array:
    """(N, 85, 64): the lowest frequencies of every window of (N, 32, 32) levels of grey."""
    captions = spectra_of(grey, _WHOLE, _DOWN[len(_ACROSS) :])
    return np.concatenate([spectra_of(grey, _ACROSS, _ACROSS), captions], axis=1)


def _regions(grey: Array) -> Array:
    """(N, 6, 64): the lowest frequencies of every region, and of its mirror image."""
    spectra = spectra_of(grey, _WHOLE, _REGIONS)
    odd = np.where(np.arange(FREQUENCIES**2) % FREQUENCIES % 2, -1, 1).astype(np.float32)
    return np.concatenate([spectra, spectra * odd], axis=1)


def _plain_share(fine: Array) -> Array:
    """(N,) the share of pixels within four levels of the most frequent tone."""
    shares = [np.empty(0)]
    for at in range(0, len(fine), _PART):
        levels = fine[at : at + _PART].reshape(len(fine[at : at + _PART]), -1)
        places = levels + np.arange(len(levels))[:, None] * 256
        counts = np.bincount(places.ravel(), minlength=256 * len(levels)).reshape(-1, 256)
        below = np.pad(np.cumsum(counts, axis=1), [(0, 0), (1, 8)], mode="edge")
        below[:, 0] = 0
        shares.append((below[:, 9:] - below[:, :-9]).max(axis=1) / levels.shape[1])
    return np.concatenate(shares)


def _confirm(pairs: Candidates, coarse: Array, fine: Array, colours: Array) -> Array:
    """(P,) whether the region of the copy shows the window of the picture, when both are aligned."""
    windows = np.array(_WINDOWS, np.float32)[pairs.window]
    regions = np.array([(0, 1, *ends) for ends in _REGIONS], np.float32)[pairs.region % len(_REGIONS)]
    mirrored = pairs.region >= len(_REGIONS)
    left, same = np.arange(len(windows)), np.zeros(len(windows), bool)
    for levels, cells, least in ((coarse, _ROUGH_CELLS, _LIKELY), (fine, _CELLS, _CORRELATION)):
        one, other = blur(levels[pairs.medium[left]]), blur(_turned(levels[pairs.copy[left]], mirrored[left]))
        windows[left], shown, copied = align(one, other, windows[left], regions[left], cells)
        right = correlate(shown, copied) >= least
        left, shown, copied = left[right], shown[right], copied[right]
        if not left.size:
            return same
    left = left[correlate(detail_of(shown), detail_of(copied)) >= _DETAIL]
    tints = colours[pairs.medium[left]], _turned(colours[pairs.copy[left]], mirrored[left])
    if left.size:
        same[left] = _tint_difference(*tints, windows[left], regions[left]) <= _TINT
    return same


def _turned(levels: Array, mirrored: Array) -> Array:
    """(P, H, W, ...), mirrored where it says so."""
    turned: Array = np.where(mirrored.reshape(-1, *[1] * (levels.ndim - 1)), levels[:, :, ::-1], levels)
    return turned


def _tint_difference(one: Array, other: Array, windows: Array, regions: Array) -> Array:
    """(P,) by how many levels the colours (P, 8, 8, 3) differ on average, less those by which one is brighter."""
    shown = [
        np.concatenate(
            [sample(tints[..., hue].astype(np.float32), ends, _TINT_CELLS).reshape(len(ends), -1) for hue in range(3)],
            axis=1,
        )
        for tints, ends in ((one, windows), (other, regions))
    ]
    difference: Array = shown[0] - shown[1]
    tint: Array = np.abs(difference - difference.mean(axis=1, keepdims=True)).mean(axis=1)
    return tint
