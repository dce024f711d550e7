"""Rows of the parts of a folder by their digests, without opening the parts that hold none of them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.contract import read_table, read_tables

_PREFIX = 8
"""Characters of a digest that are held: of 10,000 digests looked for among a million others about two open a part in vain."""
_FOLDERS = 64
"""Folders and columns that a process keeps in mind."""
_BATCH_ROWS = 50_000
_LONGEST = 2**31 - 1
"""Bytes of the texts of one array."""


class DigestPlaces:
    """Where digests stand among many, 12 bytes for each: made once, as a hash table of Arrow's is made for every look."""

    def __init__(self, digests: pa.Array | pa.ChunkedArray) -> None:
        """Of (N,) digests, or other texts, without nulls; of equal ones the first counts."""
        self._digests = digests
        keys = _leading(digests)
        order = np.argsort(keys, kind="stable")
        self._keys, self._order = keys[order], order.astype(np.int32 if len(order) < 2**31 else np.int64)

    def find(self, wanted: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        """(M,) the place of each; -1 where it is not there, or null."""
        keys = _leading(wanted)
        at, last = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        found = np.full(len(wanted), -1)
        open_ = np.flatnonzero(at < last)
        while len(open_):  # a second round only where other digests begin alike
            places = self._order[at[open_]].astype(np.int64)
            equal = pc.indices_nonzero(pc.equal(self._digests.take(as_arrow(places)), wanted.take(as_arrow(open_))))
            same = np.frombuffer(equal.buffers()[1], np.uint64, len(equal)) if len(equal) else np.zeros(0, np.uint64)
            found[open_[same]] = places[same]
            open_ = np.delete(open_, same)
            at[open_] += 1
            open_ = open_[at[open_] < last[open_]]
        return found


class PartIndex:
    """What the parts of a folder hold in a column, 12 bytes a row.

    A part's name has the digest of its bytes, so each is read once.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._lock = threading.Lock()
        self._names: dict[str, int] = {}
        self._prefixes: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._numbers: NDArray[np.int32] = np.zeros(0, np.int32)

    def choose(self, paths: Sequence[Path], wanted: pa.Array | pa.ChunkedArray) -> list[Path]:
        """Those of the parts that may hold one of these digests, in the same order; errors as `read_table`."""
        with self._lock:
            self._add([path for path in paths if path.name not in self._names])
            prefixes = np.unique(_prefixes(wanted))
            first = np.searchsorted(self._prefixes, prefixes, "left")
            counts = np.searchsorted(self._prefixes, prefixes, "right") - first
            places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
            found = set(np.unique(self._numbers[places]).tolist())
            return [path for path in paths if self._names[path.name] in found]

    def _add(self, paths: Sequence[Path]) -> None:
        if not paths:
            return
        prefixes, numbers = [self._prefixes], [self._numbers]
        names = dict(self._names)
        for path in paths:
            number = names.setdefault(path.name, len(names))
            prefixes.append(_prefixes(read_table(path, [self._column])[self._column]))
            numbers.append(np.full(len(prefixes[-1]), number, np.int32))
        joined = np.concatenate(prefixes)
        order = np.argsort(joined, kind="stable")
        self._prefixes, self._numbers, self._names = joined[order], np.concatenate(numbers)[order], names


def parts_among(paths: Sequence[Path], column: str, wanted: pa.Array | pa.ChunkedArray) -> list[Path]:
    """Those of the parts, all of one folder, whose column may hold one of these digests; errors as `read_table`."""
    return _index(paths[0].parent, column).choose(paths, wanted) if paths else []


def read_tables_among(
    paths: Sequence[Path], columns: Sequence[str], wanted: pa.Array | pa.ChunkedArray
) -> Iterator[pa.Table]:
    """These columns of the parts, all of one folder, for the rows whose first column is one of the digests; of the others no
    more than a batch is held.

    Several small tables are looked through at a time, as a call of Arrow's takes longer than a few rows do.
    """
    places = DigestPlaces(wanted)
    waiting: list[pa.Table] = []
    for table in read_tables(parts_among(paths, columns[0], wanted), columns):
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _BATCH_ROWS:
            yield _among(waiting, places)
            waiting = []
    if waiting:
        yield _among(waiting, places)


def _among(tables: list[pa.Table], wanted: DigestPlaces) -> pa.Table:
    table = pa.concat_tables(tables)
    return table.take(as_arrow(np.flatnonzero(wanted.find(table.column(0)) >= 0)))


@functools.lru_cache(_FOLDERS)
def _index(folder: Path, column: str) -> PartIndex:
    return PartIndex(column)


def digest_array(digests: Collection[str]) -> pa.Array | pa.ChunkedArray:
    """(N,) strings. Made of buffers, as `_prefixes` reads them: pyarrow imports pandas to make an array of anything else, and
    to make anything else of one, which takes longer than all that a plan does."""
    text = "".join(digests).encode()
    if len(text) > _LONGEST:
        return pa.array(list(digests), pa.string())
    ends = np.cumsum([0, *map(len, digests)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(digests), pa.py_buffer(ends), pa.py_buffer(text))


def as_arrow(places: NDArray[np.int64]) -> pa.Array:
    """(N,) the same numbers: what pyarrow makes of other arrays, it makes by importing pandas."""
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(np.ascontiguousarray(places))])


def _leading(digests: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """(N,) the first 16 characters of each as a number, four bits of each: of a digest that is all they hold. 0 for null."""
    chunks = digests.chunks if isinstance(digests, pa.ChunkedArray) else [digests]
    keys = [np.zeros(0, np.uint64)]
    for chunk in chunks:
        for start in range(0, len(chunk), _BATCH_ROWS):  # its characters take 16 bytes each
            keys.append(_leading_of(chunk.slice(start, _BATCH_ROWS)))
    return np.concatenate(keys)


def _leading_of(digests: pa.Array) -> NDArray[np.uint64]:
    cut = pc.binary_slice(digests.cast(pa.string()).cast(pa.binary()), 0, 2 * _PREFIX)
    ends = np.frombuffer(cut.buffers()[1], np.int32)[cut.offset : cut.offset + len(cut) + 1]
    text = np.frombuffer(cut.buffers()[2], np.uint8)
    characters = np.zeros((len(cut), 2 * _PREFIX), np.uint8)
    sizes = np.diff(ends)
    inside = np.arange(2 * _PREFIX) < sizes[:, None]
    characters[inside] = text[ends[0] : ends[-1]]
    nibbles = (characters & 15) + 9 * (characters >> 6)
    pairs = (nibbles[:, ::2] << 4 | nibbles[:, 1::2] & 15).astype(np.uint8)
    return np.ascontiguousarray(pairs).view(">u8").reshape(-1).astype(np.uint64)


def _prefixes(digests: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first characters of each as a number, nulls left out."""
    cut = pc.utf8_slice_codeunits(pc.drop_null(digests.cast(pa.string())), 0, _PREFIX)
    fixed = pc.utf8_rpad(cut, _PREFIX, "\0").cast(pa.binary()).cast(pa.binary(_PREFIX))
    chunks = fixed.chunks if isinstance(fixed, pa.ChunkedArray) else [fixed]
    return np.concatenate([np.zeros(0, np.uint64), *map(_values, chunks)])


def _values(chunk: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    return np.frombuffer(chunk.buffers()[1], np.uint64)[chunk.offset : chunk.offset + len(chunk)]
