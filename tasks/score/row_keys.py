"""What a row that was scored is known by: its id and the content that the model reads, wherever it stands.

Contents are digests of the source's bytes, as the scan of a manifest takes them: they are known before anything is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.modalities import in_order
from data_contracts.refs import InputName

ROW, GROUP = "row", "group"
"""What a score says of a row that the model was trained or validated on, and of one of whose group such a row was."""
BYTES = 16
Keys = NDArray[np.bytes_]
"""(N,) of BYTES bytes each."""
Places = NDArray[np.int64]
"""(N,) of rows."""
NO_CONTENT = hashlib.sha256(b"").hexdigest()[: 2 * BYTES]
"""Of a row of which nothing that the model reads is there: it tells no two rows apart."""


@dataclass(frozen=True)
class RowKeys:
    """What N rows are known by."""

    ids: Keys
    pairs: Keys
    """One for each id and content."""

    @classmethod
    def of(cls, ids: Sequence[str], contents: Sequence[str]) -> RowKeys:
        """Those of N rows."""
        pairs = (f"{content} {name}" for name, content in zip(ids, contents, strict=True))
        return cls(_digests(ids), _digests(pairs))

    @classmethod
    def concat(cls, keys: Sequence[RowKeys]) -> RowKeys:
        """Those of all rows, one after the other."""
        none = as_keys([])
        return cls(*(np.concatenate([none, *(getattr(each, name) for each in keys)]) for name in ("ids", "pairs")))


@dataclass(frozen=True)
class RowStates:
    """What is to be done with N rows of the data."""

    new: NDArray[np.bool_]
    """They are to be scored."""
    repeats: Places
    """The first row with the same id and content, of those after it; else -1."""
    rows_of_id: NDArray[np.int64]
    """(N,) how many different contents the data have under the row's id."""


def content_columns(names: Iterable[str], modalities: Sequence[InputName]) -> list[str]:
    """The columns of a raw table, `names` are all of its, that tell the content of what the model reads."""
    held = {*names}
    return [f"{name}_sha256" for name in in_order(modalities) if f"{name}_sha256" in held]


def contents_of_rows(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """(N,) the digest of each row's content, 32 hex digits; NO_CONTENT where nothing is there."""
    cells = [rows[name].to_pylist() for name in columns]
    return [
        hashlib.sha256(
            " ".join(f"{name}:{cell}" for name, cell in zip(columns, row, strict=True) if cell).encode()
        ).hexdigest()[: 2 * BYTES]
        for row in (zip(*cells, strict=True) if cells else [()] * rows.num_rows)
    ]


def as_keys(digests: Sequence[bytes]) -> Keys:
    """(N,) the digests as an array. NumPy takes zero bytes at the end for padding, which tells no two of one width apart."""
    return np.array(digests, dtype=f"S{BYTES}")


def find_new(
    data: RowKeys, readable: NDArray[np.bool_], stored: RowKeys, stored_rows_of_id: NDArray[np.int64]
) -> RowStates:
    """What is to be done with the N rows of the data, beside the M scores that are stored, oldest first.

    An id and content is known where it is stored, no later score of its id is of a content that the data no longer have,
    and the newest score of its id was stored when the data had as many contents under it as now. So a row that was edited
    and edited back is new, and rows that share an id are scored once. Rows that are not `readable` are always new.
    """
    pairs, one_of, pair_of_row = np.unique(data.pairs, return_index=True, return_inverse=True)
    ids, id_of_pair = np.unique(data.ids[one_of], return_inverse=True)
    rows_of_id = np.bincount(id_of_pair, minlength=len(ids))
    stored_pair, stored_id = locate(stored.pairs, pairs), locate(stored.ids, ids)
    last = _last_places(stored_pair, len(pairs))
    last_gone = _last_places(np.where(stored_pair < 0, stored_id, -1), len(ids))
    newest = _last_places(stored_id, len(ids))
    counts = np.append(stored_rows_of_id, 0)[newest]  # 0 where nothing is stored
    known = (last > last_gone[id_of_pair]) & (counts == rows_of_id)[id_of_pair]
    places = np.arange(len(data.pairs))
    first = np.full(len(pairs), len(places))
    np.minimum.at(first, pair_of_row[readable], places[readable])
    repeats = np.where(readable & (first[pair_of_row] < places), first[pair_of_row], -1)
    return RowStates(
        new=~readable | (~known[pair_of_row] & (repeats < 0)),
        repeats=repeats,
        rows_of_id=rows_of_id[id_of_pair][pair_of_row],
    )


def _digests(texts: Iterable[str]) -> Keys:
    return as_keys([hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:BYTES] for text in texts])


def locate(keys: Keys, among: Keys) -> Places:
    """(M,) where each key is in the sorted `among`; -1 where it is not."""
    if not len(among):
        return np.full(len(keys), -1)
    found = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    return np.where(among[found] == keys, found, -1)


def _last_places(numbers: Places, count: int) -> Places:
    """(count,) the last place of each number in `numbers`, of which -1 is none; -1 where it is not there."""
    last = np.full(count, -1)
    places = np.flatnonzero(numbers >= 0)
    np.maximum.at(last, numbers[places], places)
    return last
