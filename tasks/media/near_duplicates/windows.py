"""Hashes of windows, by which a copy of a part is found among many: of pictures, and of spectra over time.

The hash is that of signatures.py: a window's cosines are weights of the cells in it, so all windows take two products of
matrices (Zauner 2010, as there). Keys for candidates are the 27 bits of the lowest frequencies; those under which a hash is
found have up to two flipped of the eight that are least certain (Lv et al. 2007, "Multi-Probe LSH: Efficient Indexing for
High-Dimensional Similarity Search"). So a copy is looked up once per window, and not in many tables.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_SAME_KEY = 64
"""Of those that share a key, so many are compared with a window: a bucket of thousands must not cost millions of pairs."""
_PART = 2048
_DISTANCE = 12
"""Bits of 63: of copies (pictures and sounds), 99 of 100 are as near to a window; the nearest of 1,000 others seldom is."""


class Candidates(NamedTuple):
    """(P,) each: a medium, its window, the possible copy, and the region of that."""

    medium: Array
    window: Array
    copy: Array
    region: Array

    def at(self, chosen: Array) -> Candidates:
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
    """(N, down, 8, across, 8) of (N, H, W): the lowest frequencies of each window, down and across."""
    count, height, width = levels.shape
    rows = np.concatenate([_cosines(*ends, height) for ends in down])
    columns = np.concatenate([_cosines(*ends, width) for ends in across])
    half = levels.astype(np.float32).transpose(0, 2, 1).reshape(-1, height) @ rows.T
    full = half.reshape(count, width, -1).transpose(0, 2, 1).reshape(-1, width) @ columns.T
    spectra: Array = full.reshape(count, len(down), FREQUENCIES, len(across), FREQUENCIES)
    return spectra


def codes_of(spectra: Array) -> Array:
    """Of (N, down, 8, across, 8), one uint64 a window, (N, down x across): which frequencies are positive."""
    bits = np.packbits(spectra > 0, axis=-1, bitorder="little")[..., 0].transpose(0, 1, 3, 2)
    codes: Array = np.ascontiguousarray(bits).view("<u8").reshape(len(spectra), -1) & _BITS
    return codes


def _probes(spectra: Array) -> Array:
    """(N, R, 37): keys of (N, R, 8, 1, 8)."""
    codes = codes_of(spectra)
    weakest = _LOW[np.abs(spectra.reshape(*codes.shape, -1)[..., _LOW]).argsort(axis=-1)[..., :_UNCERTAIN]]
    flips = np.uint64(1) << weakest.astype(np.uint64)
    one, other = np.triu_indices(_UNCERTAIN, 1)
    probes = [np.zeros_like(codes)[..., None], flips, flips[..., one] ^ flips[..., other]]
    return _keys(codes[..., None] ^ np.concatenate(probes, axis=-1))


def _keys(codes: Array) -> Array:
    """32 bits that stand for the lowest frequencies, in the upper half of a uint64."""
    mixed: Array = ((codes & _LOW_BITS) * np.uint64(0x9E3779B97F4A7C15)) & ~_UINT32
    return mixed


def find_candidates(windows: Array, regions: Array) -> Candidates:
    """Where a window of one medium and a region of another have nearly one hash; of each pair and region the best window.

    windows: (N, W) hashes; regions: (N, R, 8, 1, 8) frequencies.
    """
    codes, keys = codes_of(regions), _probes(regions)
    owners = np.repeat(np.arange(codes.size, dtype=np.uint64), keys.shape[-1])
    index = np.sort(keys.reshape(-1) | owners)
    parts = range(0, len(windows), _PART)
    found = [_look_up(windows[start : start + _PART], start, codes, index) for start in parts]
    medium, window, copy, region, apart = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((apart, region, copy, medium))
    candidates = Candidates(medium, window, copy, region).at(order)
    pair = (candidates.medium * len(windows) + candidates.copy) * codes.shape[1] + candidates.region
    return candidates.at(np.unique(pair, return_index=True)[1])


def _look_up(windows: Array, start: int, codes: Array, index: Array) -> tuple[Array, ...]:
    """Medium, window, copy, region and differing bits of what the media from `start` on meet in the index."""
    flat = windows.reshape(-1)
    keys = np.sort(_keys(flat) | np.arange(len(flat), dtype=np.uint64))  # in order, so that the index is read in order
    order, keys = (keys & _UINT32).astype(np.int64), keys & ~_UINT32
    low = np.searchsorted(index, keys)
    count = np.searchsorted(index, keys | _UINT32, side="right") - low
    taken = np.minimum(count, _SAME_KEY)
    low += order % (count - taken + 1)  # of a crowded bucket, each looks at another part
    query = np.repeat(order, taken)
    offset = np.arange(len(query)) - np.repeat(np.cumsum(taken) - taken, taken)
    owner = (index[np.repeat(low, taken) + offset] & _UINT32).astype(np.int64)
    apart = np.bitwise_count(flat[query] ^ codes.reshape(-1)[owner])
    medium, window = np.divmod(query, windows.shape[1])
    copy, region = np.divmod(owner, codes.shape[1])
    near = (apart <= _DISTANCE) & (medium + start != copy)
    return tuple(column[near] for column in (medium + start, window, copy, region, apart))
