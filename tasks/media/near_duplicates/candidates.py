"""Candidates for near repeats among many codes, by locality-sensitive hashing, and what they add up to."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

Name = TypeVar("Name", str, int)
Pairs = np.ndarray[Any, np.dtype[np.int64]]
"""(N, 2) positions, the smaller first, each pair once."""
_WINDOW = 24
"""Codes that share a table's key are compared with so many that follow them in order: a bucket of thousands of blank
pictures must not cost millions of pairs. Repeats of one another are neighbours there, so a chain still joins them."""
_MOST_PER_CODE = 2
"""Pairs that one table gives, per code in it; where there are more, the window is narrowed."""


def similar_codes(codes: np.ndarray[Any, np.dtype[np.uint64]], distance: int) -> Pairs:
    """Pairs of 64-bit codes at most `distance` bits apart; all of those within 6 bits, most of those beyond.

    Two codes within 6 bits agree in at least two of their eight bytes, so they meet in one of the 28 tables of two bytes.
    """
    pieces = codes.astype("<u8").view(np.uint8).reshape(-1, 8).astype(np.uint32)
    close: list[Pairs] = []
    for one, other in itertools.combinations(range(8), 2):
        # Each table by itself: of what meets in one by chance, a hundred times as much as is near, nothing is kept.
        pairs = candidate_pairs([(pieces[:, one] << 8) | pieces[:, other]], codes)
        close.append(pairs[np.bitwise_count(codes[pairs[:, 0]] ^ codes[pairs[:, 1]]) <= distance])
    return _distinct(close)


def candidate_pairs(tables: Iterable[np.ndarray[Any, Any]], order: np.ndarray[Any, Any]) -> Pairs:
    """Pairs that share a key in a table; in a crowded bucket only neighbours in `order`."""
    found: list[Pairs] = []
    for keys in tables:
        if sum(map(len, found)) > 4 * len(order):  # copies meet in many tables
            found = [_distinct(found)]
        sequence = np.lexsort((order, keys))
        ordered = keys[sequence]
        left = _MOST_PER_CODE * len(keys)
        for step in range(1, min(_WINDOW, len(keys) - 1) + 1):
            same = np.flatnonzero(ordered[step:] == ordered[:-step])
            left -= same.size
            if not same.size or left < 0:
                break
            found.append(np.stack([sequence[same], sequence[same + step]], axis=1))
    if not found:
        return np.empty((0, 2), np.int64)
    return _distinct(found)


def _distinct(pairs: list[Pairs]) -> Pairs:
    """Each once, the smaller position first."""
    ordered = np.sort(np.concatenate(pairs), axis=1).astype(np.int64)
    packed = np.unique(ordered[:, 0] << 32 | ordered[:, 1])  # many times faster than by rows
    return np.stack([packed >> 32, packed & 0xFFFFFFFF], axis=1)


def parts_of(pairs: Pairs, size: int = 8192) -> list[Pairs]:
    """The pairs in runs that fit into memory with their forms."""
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def match_groups_again(match: Callable[[np.ndarray[Any, Any]], Pairs], count: int) -> Pairs:
    """Pairs among `count` media, where `match` compares each of those at some positions with a few others only.

    Many copies of one medium may then fall into several groups; so one of each group of three or more is compared again.
    """
    pairs = match(np.arange(count))
    while True:
        sizes = Counter(join_pairs(range(count), pairs.tolist()).values())
        heads = np.array(sorted(head for head, size in sizes.items() if size > 2), np.int64)
        more = match(heads) if len(heads) > 1 else pairs[:0]
        if not len(more):
            return pairs
        pairs = _distinct([pairs, more])


def join_pairs(names: Sequence[Name], pairs: Iterable[tuple[int, int]]) -> dict[Name, Name]:
    """Each name that is in a pair to the smallest name that chains of pairs tie it to."""
    root = list(range(len(names)))

    def find(place: int) -> int:
        """The root of the chain that a place is in (union-find with path halving)."""
        while root[place] != place:
            root[place] = place = root[root[place]]
        return place

    touched: set[int] = set()
    for one, other in pairs:
        touched |= {one, other}
        root[find(one)] = find(other)
    smallest: dict[int, Name] = {}
    for place in touched:
        smallest[find(place)] = min(names[place], smallest.get(find(place), names[place]))
    return {names[place]: smallest[find(place)] for place in touched}
