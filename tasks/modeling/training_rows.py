"""The rows that a model was made and judged with: rows.safetensors beside it, digests of their ids by split. No torch.

An id is known by the first 16 bytes of its sha256. That tells whether a given id was among the rows; it lists none, but
an id that can be guessed can be confirmed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_contracts.refs import Split
from tasks.errors import DataError
from tasks.samples import Samples

ROWS = "rows.safetensors"
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_BYTES = 16

Known = dict[Split, NDArray[np.uint8]]
"""Split to digests (N, 16), sorted."""


def write_rows(samples: Samples, path: Path) -> None:
    """The file holds the rows of a samples table; the same rows give the same bytes, whatever their order."""
    from safetensors.numpy import save

    ids, splits = samples.ids, samples.splits
    held = {split: _digests(i for i, own in zip(ids, splits, strict=True) if own == split) for split in SPLITS}
    path.write_bytes(save({split: _array(digests) for split, digests in held.items()}))


def read_rows(folder: Path) -> Known:
    """The rows of the published model in a folder. DataError where the file is damaged or gone."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / ROWS
    try:
        held = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise DataError(f"model {path}: damaged ({' '.join(str(error).split())[:200]}); publish it again") from None
    return {split: held[split] for split in SPLITS if split in held}


def are_known(ids: Iterable[str], digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,) whether each id is among the digests (M, 16)."""
    known = {row.tobytes() for row in digests}
    return np.array([_digest(each) in known for each in ids], bool)


def _digests(ids: Iterable[str]) -> list[bytes]:
    return sorted(_digest(each) for each in ids)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_BYTES]


def _array(digests: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, _BYTES)
