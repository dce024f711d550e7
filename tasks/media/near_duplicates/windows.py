"""Hashes of windows, by which a copy of a part is found among many: of pictures, and of spectra over time.

The hash is that of signatures.py: a window's cosines are weights of the cells in it, so all windows take two products of
matrices (Zauner 2010, as there). Keys for candidates are the 27 bits of the lowest frequencies; those under which a hash is
found have up to two flipped of the eight that are least certain (Lv et al. 2007, "Multi-Probe LSH: Efficient Indexing for
High-Dimensional Similarity Search"). So a copy is looked up once per window, and not in many tables. Of what is met there, the
frequencies themselves are correlated, and each medium keeps the few that are most alike: what comes after costs as much for
tones that are all alike as for photographs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Ends = Sequence[tuple[float, float]]
"""Where windows start and end, as shares of a side."""
FREQUENCIES = 8
_BITS = ~np.uint64(1)  # the mean says nothing
_LOW = np.array([place for place in range(1, 64) if sum(divmod(place, FREQUENCIES)) <= 6])
"""The places of the lowest frequencies in a hash."""
_LOW_BITS = np.uint64(sum(1 << int(place) for place in _LOW))
_UINT32 = np.uint64(0xFFFFFFFF)
_UNCERTAIN = 8
_PROBES = 1 + _UNCERTAIN + _UNCERTAIN * (_UNCERTAIN - 1) // 2
_SAME_KEY = 64
"""Of those that share a key, so many are compared with a window: a bucket of thousands must not cost millions of pairs."""
PART = 512
"""Media whose windows are in memory at once: 40 kB each, and up to 200 kB for what they meet."""
_SCORED = 1 << 16
_DISTANCE = 12
"""Bits of 63: of copies (pictures and sounds), 99 of 100 are as near to a window; the nearest of 1,000 others seldom is."""


class Candidates(NamedTuple):
    """(P,) each: a medium, its window, the possible copy, the region of that, and how much their frequencies correlate."""

    medium: Array
    window: Array
    copy: Array
    region: Array
    likeness: Array

    def at(self, chosen: Array | slice) -> Candidates:
        """Some of them."""
        return Candidates(*(column[chosen] for column in self))


@cache
def _cosines(low: float, high: float, cells: int) -> Array:
    """(8, cells): the first rows of the DCT-II over the window from `low` to `high`, shares of its cells by their area."""
    fine = (np.arange(cells * 8) + 0.5) / (cells * 8)
    within = (fine - low) / (high - low)
    rows = np.cos(np.pi * np.outer(np.arange(FREQUENCIES), within)) * ((within > 0) & (within < 1))
    shares: Array = rows.reshape(FREQUENCIES, cells, 8).mean(axis=2).astype(np.float32)
    return shares


def spectra_of(levels: Array, across: Ends, down: Ends) -> Array:
    """(N, down x across, 64) of (N, H, W): the lowest frequencies of each window, eight down by eight across."""
    count, height, width = levels.shape
    rows = np.concatenate([_cosines(*ends, height) for ends in down])
    columns = np.concatenate([_cosines(*ends, width) for ends in across])
    half = levels.astype(np.float32).transpose(0, 2, 1).reshape(-1, height) @ rows.T
    full = half.reshape(count, width, -1).transpose(0, 2, 1).reshape(-1, width) @ columns.T
    spectra = full.reshape(count, len(down), FREQUENCIES, len(across), FREQUENCIES).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(spectra).reshape(count, -1, FREQUENCIES**2)


def _codes_of(spectra: Array) -> Array:
    """Of (..., 64), one uint64 a window: which frequencies are positive."""
    bits = np.packbits(spectra > 0, axis=-1, bitorder="little")
    codes: Array = bits.view("<u8")[..., 0] & _BITS
    return codes


def _probes(spectra: Array) -> Array:
    """(N, _PROBES): keys of (N, 64)."""
    codes = _codes_of(spectra)
    weakest = _LOW[np.abs(spectra[:, _LOW]).argsort(axis=-1)[:, :_UNCERTAIN]]
    flips = np.uint64(1) << weakest.astype(np.uint64)
    one, other = np.triu_indices(_UNCERTAIN, 1)
    probes = [np.zeros_like(codes)[:, None], flips, flips[:, one] ^ flips[:, other]]
    return _keys(codes[:, None] ^ np.concatenate(probes, axis=-1))


def _keys(codes: Array) -> Array:
    """32 bits that stand for the lowest frequencies, in the upper half of a uint64."""
    mixed: Array = ((codes & _LOW_BITS) * np.uint64(0x9E3779B97F4A7C15)) & ~_UINT32
    return mixed


def find_candidates(windows: Callable[[int, int], Array], regions: Array, least: float, most: int) -> Candidates:
    """Where a window of one of at least two media and a region of another are alike; of each pair and region the best window.

    windows: from one medium to before another, (n, W, 64) frequencies; regions: (N, R, 64). least: the correlation of the two;
    most: how many others a medium keeps. Sorting takes n log n, the rest grows with n and with how
    crowded the keys are, up to 64 comparisons a window.
    """
    count, each = regions.shape[:2]
    flat = regions.reshape(-1, FREQUENCIES**2)
    codes = _codes_of(flat)
    index = _index_of(flat)
    found = []
    for start in range(0, count, PART):
        near = _look_up(windows(start, min(start + PART, count)), start, each, flat, codes, index)
        near = near.at(np.flatnonzero(near.likeness >= least))
        near = near.at(best_of_each((near.medium * count + near.copy) * each + near.region, near.likeness, 1))
        found.append(near.at(best_of_each(near.medium, near.likeness, most)))
    medium, window, copy, region, likeness = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((region, copy, medium))
    return Candidates(medium, window, copy, region, likeness).at(order)


def _index_of(regions: Array) -> Array:
    """Of (N, 64), the keys of all with the places of their regions in the lower half, sorted: uint64 (N x _PROBES,)."""
    index = np.empty((len(regions), _PROBES), np.uint64)
    for at in range(0, len(regions), PART):
        index[at : at + PART] = _probes(regions[at : at + PART])
        index[at : at + PART] |= np.arange(at, min(at + PART, len(regions)), dtype=np.uint64)[:, None]
    flat = index.reshape(-1)
    flat.sort()
    return flat


def best_of_each(groups: Array, likeness: Array, most: int) -> Array:
    """Places of the `most` of each group that are most alike."""
    order = np.lexsort((-likeness, groups))
    ordered = groups[order]
    firsts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    rank = np.arange(len(order)) - np.repeat(firsts, np.diff(firsts, append=len(order)))
    best: Array = order[rank < most]
    return best


def _look_up(windows: Array, start: int, each: int, regions: Array, codes: Array, index: Array) -> Candidates:
    """What the windows (n, W, 64) of the media from `start` on meet in the index of regions (N x each, 64)."""
    flat = windows.reshape(-1, FREQUENCIES**2)
    hashes = _codes_of(flat)
    keys = _keys(hashes) | np.arange(len(flat), dtype=np.uint64)
    keys.sort()  # so that the index is read in order
    order, keys = (keys & _UINT32).astype(np.int64), keys & ~_UINT32
    low = np.searchsorted(index, keys)
    count = np.searchsorted(index, keys | _UINT32, side="right") - low
    taken = np.minimum(count, _SAME_KEY)
    low += order % (count - taken + 1)  # of a crowded bucket, each looks at another part
    query = np.repeat(order, taken)
    offset = np.arange(len(query)) - np.repeat(np.cumsum(taken) - taken, taken)
    owner = (index[np.repeat(low, taken) + offset] & _UINT32).astype(np.int64)
    near = np.bitwise_count(hashes[query] ^ codes[owner]) <= _DISTANCE
    near &= query // windows.shape[1] + start != owner // each
    query, owner = query[near], owner[near]
    likeness = [
        _correlate(flat[query[at : at + _SCORED]], regions[owner[at : at + _SCORED]])
        for at in range(0, len(query), _SCORED)
    ]
    medium, window = np.divmod(query, windows.shape[1])
    copy, region = np.divmod(owner, each)
    return Candidates(medium + start, window, copy, region, np.concatenate([np.empty(0, np.float32), *likeness]))


def _correlate(one: Array, other: Array) -> Array:
    """(P,) how much frequencies (P, 64) go together, the mean left out."""
    products = [np.einsum("pf,pf->p", a[:, 1:], b[:, 1:]) for a, b in ((one, other), (one, one), (other, other))]
    together: Array = products[0] / np.maximum(np.sqrt(products[1] * products[2]), 1e-6)
    return together
