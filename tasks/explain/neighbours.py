"""The training rows that a model sees as most alike: by the cosine of the vectors from which it answers; exact, by chunks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""(N, D) of length 1."""


def find_nearest(
    asked: Vectors, chunks: Iterable[Vectors], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(Q, at most count) positions among the rows of all chunks, the nearest first, and their cosines."""
    places = np.zeros((len(asked), 0), np.int64)
    cosines = np.zeros((len(asked), 0), np.float32)
    start = 0
    for chunk in chunks:
        found = asked @ chunk.T
        cosines = np.concatenate([cosines, found], axis=1)
        places = np.concatenate([places, np.broadcast_to(start + np.arange(len(chunk)), found.shape)], axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        cosines, places = np.take_along_axis(cosines, order, axis=1), np.take_along_axis(places, order, axis=1)
        start += len(chunk)
    return places, np.clip(cosines, -1, 1)
