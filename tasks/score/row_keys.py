"""What a row that was scored is known by: its id and the content that the model reads, wherever it stands.

Contents are digests of the source's bytes, as the scan of a manifest takes them: they are known before anything is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

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


def content_columns(names: Iterable[str], modalities: Sequence[InputName]) -> list[str]:
    """The columns of a raw table, `names` are all of its, that tell the content of what the model reads."""
    held = {*names}
    return [f"{name}_sha256" for name in in_order(modalities) if f"{name}_sha256" in held]


def contents_of_rows(rows: pa.Table, columns: Sequence[str]) -> list[str]:
    """(N,) the digest of each row's content, 32 hex digits; rows of nothing at all have the same."""
    cells = [rows[name].to_pylist() for name in columns]
    return [
        hashlib.sha256(
            " ".join(f"{name}:{cell}" for name, cell in zip(columns, row, strict=True) if cell).encode()
        ).hexdigest()[: 2 * BYTES]
        for row in (zip(*cells, strict=True) if cells else [()] * rows.num_rows)
    ]


def row_keys(ids: Sequence[str], contents: Sequence[str]) -> Keys:
    """(N,) one for each id and content."""
    pairs = zip(ids, contents, strict=True)
    digests = [hashlib.sha256(f"{content} {name}".encode("utf-8", "surrogatepass")).digest() for name, content in pairs]
    return as_keys([digest[:BYTES] for digest in digests])


def as_keys(digests: Sequence[bytes]) -> Keys:
    """(N,) the digests as an array. NumPy takes zero bytes at the end for padding, which tells no two of one width apart."""
    return np.array(digests, dtype=f"S{BYTES}")


def find_new(keys: Keys, known: Keys) -> NDArray[np.bool_]:
    """(N,) the first row of each key that is not known."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return np.asarray(first & ~np.isin(keys, known))
