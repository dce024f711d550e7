"""Shards of extraction: how many there are, and which media each holds, by a list in the store."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.refs import Frozen, Modality, Sha256
from data_contracts.tables import digests_schema
from tasks.contract import read_table
from tasks.errors import EnvironmentFailed
from tasks.modalities import Params
from tasks.modeling.pretrained.describe import Identity
from tasks.store import Store, digest_json, verified_digest

FEW_SHARDS = 32
"""At most, of up to 65,536 media."""
_ROOT_ROWS = 8
"""Beyond them a shard has this times the square root of the number of media: both shards and their rows grow with that."""
SHARD_VALUES = 1 << 30
"""Values of canonical media (pixels of all channels, samples of sound, characters) after which a shard ends."""


class ShardRef(Frozen):
    """A shard of extraction: these media of one kind, whichever inputs hold them."""

    modality: Modality
    media: str
    fingerprint: Sha256
    digests: str
    """Store path of the list of its media: a ref of many names would be copied wherever a task is handed over."""
    rows: int
    """How many they are."""
    key: Sha256
    """Digest of what the shard's result depends on."""
    encoder: str
    identity: Identity
    params: Params

    @property
    def name(self) -> str:
        """Short, for people."""
        return f"{self.key[:6]} ({self.rows})"

    def read_digests(self, store: Store) -> pa.Array:
        """(rows,) the media. EnvironmentFailed where the list is not there, or not as it was written."""
        path = store.path(self.digests)
        if not path.exists():
            store.parts(path.parent.relative_to(store.root).as_posix())  # on another machine: from the bucket
        try:
            if verified_digest(path) == path.stem.rpartition("-")[2]:
                return read_table(path, ["digest"])["digest"].combine_chunks()
            what = "damaged"
        except FileNotFoundError:
            what = "gone"
        raise EnvironmentFailed(f"list of media {path}: {what}; run again")


def keep_shard(
    store: Store,
    modality: Modality,
    media: str,
    fingerprint: str,
    digests: pa.ChunkedArray,
    encoder: str,
    identity: Identity,
    params: Params,
) -> ShardRef:
    """The shard of these media, whose list is in the store."""
    key = digest_json([fingerprint, digests.to_pylist()])
    table = pa.Table.from_arrays([digests], schema=digests_schema())
    return ShardRef(
        modality=modality,
        media=media,
        fingerprint=fingerprint,
        digests=store.put_part(f"shards/{modality}/{fingerprint[:16]}", key[:16], table),
        rows=len(digests),
        key=key,
        encoder=encoder,
        identity=identity,
        params=params,
    )


def cut_evenly(values: Mapping[Modality, NDArray[np.int64]], least: int) -> dict[Modality, list[tuple[int, int]]]:
    """Of each kind, given the values of each of its media in order, the shards: from which medium up to which.

    They have `least` media or more, but for the last of a kind and where media are large.
    """
    total = sum(map(len, values.values()))
    # One shard per started `size` rows and kind, so the kinds' remainders add up to that many more shards.
    even = math.ceil(total / max(1, FEW_SHARDS - len(values)))
    size = max(least, min(even, math.ceil(_ROOT_ROWS * math.sqrt(total))))
    return {modality: _cut(sizes, size) for modality, sizes in values.items()}


def _cut(values: NDArray[np.int64], size: int) -> list[tuple[int, int]]:
    ends, places = np.cumsum(values), [0]
    while places[-1] < len(values):
        first = places[-1]
        before = ends[first - 1] if first else 0
        full = int(np.searchsorted(ends, before + SHARD_VALUES, "right"))
        places.append(min(len(values), first + size, max(first + 1, full)))
    return list(itertools.pairwise(places))
