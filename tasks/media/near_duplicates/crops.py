"""By what a cropped, mirrored or captioned copy of a picture is found: hashes of many windows, confirmed after alignment.

One side of a pair is hashed as a whole, without its upper and without its lower part (where captions are), each also
mirrored; the other side in 85 windows, which lose up to a tenth at every edge or a caption's part of the height. A copy
that lost as much agrees with one of them. The hash is that of signatures.py, from the same thumbnail: a window's cosines
are weights of its pixels, so all windows take two products of matrices (Zauner 2010, as there). Keys for candidates are the
27 bits of the lowest frequencies, with up to two of the bits that are least certain flipped (Lv et al. 2007, "Multi-Probe
LSH: Efficient Indexing for High-Dimensional Similarity Search"). What the bits agree in is aligned, and its details decide.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tasks.media.near_duplicates.alignment import align, blur, correlate, detail_of, sample
from tasks.media.near_duplicates.candidates import Pairs, parts_of

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
_REGIONS = ((0.0, 1.0), (0.0, 1 - _CAPTION), (_CAPTION, 1.0))
"""Upper and lower end of what is hashed of a copy; then the same mirrored."""
_FREQUENCIES = 8
_BITS = ~np.uint64(1)  # the mean says nothing
_LOW = np.array([place for place in range(1, 64) if sum(divmod(place, _FREQUENCIES)) <= 6])
"""The places of the lowest frequencies in a code."""
_LOW_BITS = np.uint64(sum(1 << int(place) for place in _LOW))
_UINT32 = np.uint64(0xFFFFFFFF)
_UNCERTAIN = 8
_SAME_KEY = 64
"""Of those that share a key, so many are compared with a window: a bucket of thousands must not cost millions of pairs."""
_PART = 2048
# Measured on 12,000 pictures of cifar10_12k scaled to 96 px and 46 tiles of sharp photographs of 120 x 140 px. Copies: bits at
# most 12 apart, details correlated by 0.92 or more in 97 of 100 (JPEG at quality 50 at half the size: 93 of 100). Different
# pictures: details at most 0.89; between the two lie photographs that were cut by more, or retouched.
_DISTANCE = 12
_LIKELY = 0.8
_CORRELATION = 0.96
_DETAIL = 0.92
_TINT = 16.0
_ROUGH_CELLS, _CELLS, _TINT_CELLS = 16, 32, 6
# Handwritten digits at 96 px have 62 % or more of one tone, 96 of 100 photographs less than half: what is drawn on a plain
# ground can be aligned with too many others.
_PLAIN = 0.55


class Candidates(NamedTuple):
    """(P,) each: a picture, the window of it, the possible copy, and the region of that, from 3 on mirrored."""

    picture: Array
    window: Array
    copy: Array
    region: Array


def match_crops(coarse: Array, fine: Array, colours: Array) -> Pairs:
    """Pairs of which one shows a window of the other, as positions.

    coarse: uint8 (N, 32, 32) and fine: (N, 48, 48) levels of grey; colours: (N, 8, 8, 3).
    """
    found = find_candidates(coarse)
    named = np.union1d(found.picture, found.copy)
    plain = np.zeros(len(coarse), bool)
    plain[named] = _plain_share(fine[named]) > _PLAIN
    kept = [np.empty((0, 2), np.int64)]
    rows = np.stack(found, axis=1)
    for part in parts_of(rows[~(plain[found.picture] | plain[found.copy])], _PART):
        one = Candidates(*part.T)
        kept.append(part[confirm(one, coarse, fine, colours)][:, [0, 2]])
    return np.unique(np.sort(np.concatenate(kept), axis=1), axis=0)


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


# -- candidates ---


@cache
def _cosines(low: float, high: float, pixels: int) -> Array:
    """(8, pixels): the first rows of the DCT-II over the window from `low` to `high`, shares of its pixels by their area."""
    fine = (np.arange(pixels * 8) + 0.5) / (pixels * 8)
    within = (fine - low) / (high - low)
    rows = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), within)) * ((within > 0) & (within < 1))
    return rows.reshape(_FREQUENCIES, pixels, 8).mean(axis=2).astype(np.float32)


def _spectra(grey: Array, across: tuple[tuple[float, float], ...], down: tuple[tuple[float, float], ...]) -> Array:
    """(N, down, 8, across, 8): the lowest frequencies of each window, down and across."""
    count, side = len(grey), grey.shape[1]
    rows = np.concatenate([_cosines(*ends, side) for ends in down])
    columns = np.concatenate([_cosines(*ends, side) for ends in across])
    half = grey.astype(np.float32).transpose(0, 2, 1).reshape(-1, side) @ rows.T
    full = half.reshape(count, side, -1).transpose(0, 2, 1).reshape(-1, side) @ columns.T
    return full.reshape(count, len(down), _FREQUENCIES, len(across), _FREQUENCIES)


def _codes(spectra: Array) -> Array:
    """Of (N, down, 8, across, 8), one uint64 a window, (N, down x across): which frequencies are positive."""
    bits = np.packbits(spectra > 0, axis=-1, bitorder="little")[..., 0].transpose(0, 1, 3, 2)
    codes: Array = np.ascontiguousarray(bits).view("<u8").reshape(len(spectra), -1) & _BITS
    return codes


def window_codes(grey: Array) -> Array:
    """(N, 85): the hash of every window of (N, 32, 32) levels of grey."""
    crops, captions = _spectra(grey, _ACROSS, _ACROSS), _spectra(grey, _ACROSS[:1], _DOWN[len(_ACROSS) :])
    return np.concatenate([_codes(crops), _codes(captions)], axis=1)


def region_codes(grey: Array) -> tuple[Array, Array]:
    """(N, 6): the hash of every region and of its mirror image; and (N, 6, 37) keys."""
    odd = np.where(np.arange(_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    spectra = _spectra(grey, _ACROSS[:1], _REGIONS)
    spectra = np.concatenate([spectra, spectra * odd], axis=1)
    codes = _codes(spectra)
    weakest = _LOW[np.abs(spectra.reshape(*codes.shape, -1)[..., _LOW]).argsort(axis=-1)[..., :_UNCERTAIN]]
    flips = np.uint64(1) << weakest.astype(np.uint64)
    one, other = np.triu_indices(_UNCERTAIN, 1)
    probes = [np.zeros_like(codes)[..., None], flips, flips[..., one] ^ flips[..., other]]
    return codes, _keys(codes[..., None] ^ np.concatenate(probes, axis=-1))


def _keys(codes: Array) -> Array:
    """32 bits that stand for the lowest frequencies, in the upper half of a uint64."""
    mixed: Array = ((codes & _LOW_BITS) * np.uint64(0x9E3779B97F4A7C15)) & ~_UINT32
    return mixed


def find_candidates(grey: Array) -> Candidates:
    """Where a window of one picture and a region of another have nearly one hash; of each pair and region the best window."""
    codes, keys = region_codes(grey)
    owners = np.repeat(np.arange(codes.size, dtype=np.uint64), keys.shape[-1])
    index = np.sort(keys.reshape(-1) | owners)
    found = [_look_up(window_codes(grey[at : at + _PART]), at, codes.reshape(-1), index) for at in range(0, len(grey), _PART)]
    picture, window, copy, region, apart = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((apart, region, copy, picture))
    picture, window, copy, region = (column[order] for column in (picture, window, copy, region))
    key = (picture * len(grey) + copy) * 6 + region
    _, first = np.unique(key, return_index=True)
    return Candidates(picture[first], window[first], copy[first], region[first])


def _look_up(queries: Array, start: int, codes: Array, index: Array) -> tuple[Array, ...]:
    """Picture, window, copy, region and differing bits of what the pictures from `start` on meet in the index."""
    flat = queries.reshape(-1)
    keys = np.sort(_keys(flat) | np.arange(len(flat), dtype=np.uint64))  # in order, so that the index is read in order
    order, keys = (keys & _UINT32).astype(np.int64), keys & ~_UINT32
    low = np.searchsorted(index, keys)
    count = np.searchsorted(index, keys | _UINT32, side="right") - low
    taken = np.minimum(count, _SAME_KEY)
    low += order % (count - taken + 1)  # of a crowded bucket, each looks at another part
    query = np.repeat(order, taken)
    offset = np.arange(len(query)) - np.repeat(np.cumsum(taken) - taken, taken)
    owner = (index[np.repeat(low, taken) + offset] & _UINT32).astype(np.int64)
    apart = np.bitwise_count(flat[query] ^ codes[owner])
    picture, window = np.divmod(query, queries.shape[1])
    copy, region = np.divmod(owner, 6)
    near = (apart <= _DISTANCE) & (picture + start != copy)
    return tuple(column[near] for column in (picture + start, window, copy, region, apart))


# -- confirmation ---


def confirm(pairs: Candidates, coarse: Array, fine: Array, colours: Array) -> Array:
    """(P,) whether the region of the copy shows the window of the picture, when both are aligned."""
    windows = np.array(_WINDOWS, np.float32)[pairs.window]
    regions = np.array([(0, 1, *ends) for ends in _REGIONS], np.float32)[pairs.region % len(_REGIONS)]
    mirrored = pairs.region >= len(_REGIONS)
    left = np.arange(len(windows))
    for levels, cells, least in ((coarse, _ROUGH_CELLS, _LIKELY), (fine, _CELLS, _CORRELATION)):
        one, other = blur(levels[pairs.picture[left]]), blur(_turned(levels[pairs.copy[left]], mirrored[left]))
        windows[left], shown, copied = align(one, other, windows[left], regions[left], cells)
        right = correlate(shown, copied) >= least
        left, shown, copied = left[right], shown[right], copied[right]
    left = left[correlate(detail_of(shown), detail_of(copied)) >= _DETAIL]
    tints = colours[pairs.picture[left]], _turned(colours[pairs.copy[left]], mirrored[left])
    same = np.zeros(len(windows), bool)
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
            [sample(tints[..., hue].astype(np.float32), ends, _TINT_CELLS).reshape(len(ends), -1) for hue in range(3)], axis=1
        )
        for tints, ends in ((one, windows), (other, regions))
    ]
    difference: Array = shown[0] - shown[1]
    return np.abs(difference - difference.mean(axis=1, keepdims=True)).mean(axis=1)
