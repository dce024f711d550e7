"""Which split a row belongs to: the given one, else a stable hash of its group or id. Old rows never move."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tasks.config import SplitConfig

_SALT = "crossmodal split 1:"  # changing it would move every sample of every user


def hashed_share(identity: str) -> float:
    """A number in [0, 1) that depends on the identity alone."""
    return int.from_bytes(hashlib.sha256((_SALT + identity).encode()).digest()[:8]) / 2**64


def assign_splits(
    given: Sequence[str | None], groups: Sequence[str | None], ids: Sequence[str], config: SplitConfig
) -> list[str]:
    """One of train, val, test per row.

    Without any given split the hash decides among the three. Where the manifest gives splits they stand; rows it leaves
    open, and a validation set it does not give, are taken from what is open or train, again by the hash.
    """
    named = {split for split in given if split is not None}
    keys = [f"group:{group}" if group is not None else f"id:{name}" for group, name in zip(groups, ids, strict=True)]
    if not named:
        return [_three_way(hashed_share(key), config) for key in keys]
    carve = "val" not in named and "train" in named and "test" in named
    return [_complete(split, hashed_share(key), carve, config) for split, key in zip(given, keys, strict=True)]


def _three_way(share: float, config: SplitConfig) -> str:
    if share < config.test:
        return "test"
    return "val" if share < config.test + config.val else "train"


def _complete(split: str | None, share: float, carve: bool, config: SplitConfig) -> str:
    """A given split, or train for an open row; validation is carved out of train where there is none."""
    result = split or "train"
    return "val" if carve and result == "train" and share < config.val / (1.0 - config.test) else result
