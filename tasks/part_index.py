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

    Several small tables are looked through at a time, as each time a hash table of all that is wanted is made.
    """
    waiting: list[pa.Table] = []
    for table in read_tables(parts_among(paths, columns[0], wanted), columns):
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _BATCH_ROWS:
            yield _among(waiting, wanted)
            waiting = []
    if waiting:
        yield _among(waiting, wanted)


def _among(tables: list[pa.Table], wanted: pa.Array | pa.ChunkedArray) -> pa.Table:
    table = pa.concat_tables(tables)
    return table.filter(pc.is_in(table.column(0), value_set=wanted))


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


def _prefixes(digests: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """The first characters of each as a number, nulls left out."""
    cut = pc.utf8_slice_codeunits(pc.drop_null(digests.cast(pa.string())), 0, _PREFIX)
    fixed = pc.utf8_rpad(cut, _PREFIX, "\0").cast(pa.binary()).cast(pa.binary(_PREFIX))
    chunks = fixed.chunks if isinstance(fixed, pa.ChunkedArray) else [fixed]
    return np.concatenate([np.zeros(0, np.uint64), *map(_values, chunks)])


def _values(chunk: pa.FixedSizeBinaryArray) -> NDArray[np.uint64]:
    return np.frombuffer(chunk.buffers()[1], np.uint64)[chunk.offset : chunk.offset + len(chunk)]
