"""Figures on stored features, one row per medium that the samples need: arrays of numbers, no object for each."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.expectations.features import COLUMNS
from data_contracts.refs import InputName
from tasks.contract import require_contract
from tasks.part_index import DigestPlaces, as_arrow
from tasks.samples import Samples

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 1024
Indices = NDArray[np.int64]
Values = NDArray[Any]
"""Of any type of number."""


class FeatureFigures:
    """Figures on the features of N media, by their place; where a digest is stored several times, on the first of them."""

    def __init__(self, media: int) -> None:
        self.copies = np.zeros(media, np.int64)
        self.columns: dict[str, NDArray[Any]] = {
            **{name: np.full(media, np.nan, object) for name in ("dtype", "shape")},
            **{name: np.zeros(media, np.int64) for name in ("length", "excess", "not_finite")},
            **{name: np.full(media, np.nan) for name in ("lowest", "highest", "norm")},  # NaN: of no finite value
        }
        self.digests = np.zeros((media, 4), np.uint64)
        """sha256 of the values, shape included."""
        self.others: dict[int, set[bytes]] = defaultdict(set)
        """Place to the digests of what else is stored under its digest."""

    def add(self, places: Indices, batch: pa.RecordBatch) -> None:
        """Adds what a batch holds; `places` (R,) are those of its rows' media."""
        values, starts, sizes = _flat(batch["values"])
        rows = [values[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
        shapes: list[list[int]] = batch["shape"].to_pylist()
        texts = ["x".join(map(str, shape)) for shape in shapes]
        digests = [_digest(text, row) for text, row in zip(texts, rows, strict=True)]
        first = np.zeros(len(places), bool)
        first[np.unique(places, return_index=True)[1]] = True
        first &= self.copies[places] == 0
        np.add.at(self.copies, places, 1)
        for row in np.flatnonzero(~first).tolist():
            self.others[int(places[row])].add(digests[row])
        not_finite, lowest, highest = _ranges(values, starts, sizes)
        found = {
            "dtype": np.full(len(rows), values.dtype.name, object),
            "shape": np.array(texts, object),
            "length": np.array([shape[0] if shape else 0 for shape in shapes]),
            "excess": sizes - np.array([math.prod(shape) for shape in shapes]),
            "not_finite": not_finite,
            "lowest": lowest,
            "highest": highest,
            "norm": np.array([_norm(row, bad) for row, bad in zip(rows, not_finite.tolist(), strict=True)]),
        }
        for name, column in found.items():
            self.columns[name][places[first]] = column[first]
        self.digests[places[first]] = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 4)[first]

    def variants(self) -> Indices:
        """(N,) how many different features are stored under each digest."""
        found = np.minimum(self.copies, 1)
        for place, digests in self.others.items():
            found[place] = len(digests | {self.digests[place].tobytes()})
        return found

    def alike(self) -> Indices:
        """(N,) how many other media have the same feature."""
        stored = np.flatnonzero(self.copies)
        order = stored[np.lexsort(self.digests[stored].T)]
        ordered = self.digests[order]
        starts = np.flatnonzero(np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(order)])
        sizes = np.diff(np.append(starts, len(order)))
        found = np.zeros(len(self.copies), np.int64)
        found[order] = np.repeat(sizes - 1, sizes)
        return found


def features_frame(samples: Samples, modality: InputName, parts: list[Path]) -> pd.DataFrame:
    """A frame of data_contracts.expectations.features.COLUMNS.

    Read from the Parquet parts as they are stored. Rows that no sample needs are not looked at.
    """
    import pandas as pd

    cells = samples.column(modality)
    there = pc.indices_nonzero(cells.is_valid())
    media = pc.unique(cells.take(there))
    places = DigestPlaces(media)  # once, as there may be many parts
    first = there.take(as_arrow(DigestPlaces(cells.take(there)).find(media)))
    figures = FeatureFigures(len(media))
    for part in parts:
        for batch, found in _batches(part, places):
            figures.add(found, batch)
    stored = figures.copies > 0
    columns = {
        **figures.columns,
        "variants": figures.variants(),
        "same_features": figures.alike(),
        "spread": figures.columns["highest"] - figures.columns["lowest"],
    }
    if not stored.all():
        columns = {name: np.where(stored, column, np.nan) for name, column in columns.items()}
    names = {"id": samples.column("id").take(first).to_pylist(), "digest": media.to_pylist()}
    return pd.DataFrame({**names, **columns, "copies": figures.copies}, columns=list(COLUMNS))


def columns_frame(samples: Samples, modality: InputName, parts: list[Path]) -> pd.DataFrame:
    """One row per column of the embeddings that the samples need: `id`, its number, and `spread`, highest - lowest value.

    Values that are not finite, and features of another length than the first, are left to `features_frame`.
    """
    import pandas as pd

    needed = DigestPlaces(samples.column(modality).drop_null())
    lows: np.ndarray[Any, Any] | None = None
    highs: np.ndarray[Any, Any] | None = None
    for part in parts:
        for batch, _ in _batches(part, needed):
            values, starts, sizes = _flat(batch["values"])
            width = int(sizes[0]) if lows is None else lows.size
            chosen = starts[sizes == width]
            if not len(chosen):
                continue
            block = values[chosen[:, None] + np.arange(width)].astype(np.float64)
            low = np.where(np.isfinite(block), block, np.inf).min(axis=0)
            high = np.where(np.isfinite(block), block, -np.inf).max(axis=0)
            lows = low if lows is None else np.minimum(lows, low)
            highs = high if highs is None else np.maximum(highs, high)
    spread = np.zeros(0) if lows is None or highs is None else highs - lows
    names = [f"column {number}" for number in range(len(spread))]
    return pd.DataFrame({"id": names, "spread": np.where(np.isfinite(spread), spread, np.nan)})


def _batches(part: Path, needed: DigestPlaces) -> Iterator[tuple[pa.RecordBatch, Indices]]:
    """The rows of a part that the samples need, and the place (R,) of each one's medium; at least one row each."""
    with pq.ParquetFile(part) as file:
        require_contract(file.schema_arrow, part)
        for batch in file.iter_batches(BATCH_ROWS, columns=["digest", "shape", "values"]):
            places = needed.find(batch["digest"])
            chosen = places >= 0
            if chosen.any():  # to filter copies all values
                yield (batch if chosen.all() else batch.filter(pa.array(chosen))), places[chosen]


def _flat(column: pa.Array) -> tuple[Values, Indices, Indices]:
    """The values of a column of R lists one after the other, where each list begins in them, and how long it is."""
    sizes = np.asarray(pc.list_value_length(column), np.int64)
    return np.asarray(column.flatten()), np.cumsum(sizes) - sizes, sizes


def _digest(shape: str, values: Values) -> bytes:
    digest = hashlib.sha256(shape.encode())
    digest.update(values.data)
    return digest.digest()


def _ranges(values: Values, starts: Indices, sizes: Indices) -> tuple[Indices, Values, Values]:
    """(R,) how many values of each list are not finite, and the least and the greatest of the others; NaN without one."""
    filled = np.flatnonzero(sizes)
    not_finite = np.zeros(len(sizes), np.int64)
    lowest, highest = np.full(len(sizes), np.nan), np.full(len(sizes), np.nan)
    if not len(filled):
        return not_finite, lowest, highest
    least = most = values
    if values.dtype.kind not in "iu" and not (finite := np.isfinite(values)).all():
        not_finite[filled] = np.add.reduceat(~finite, starts[filled], dtype=np.int64)
        least, most = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    lowest[filled] = np.minimum.reduceat(least, starts[filled])
    highest[filled] = np.maximum.reduceat(most, starts[filled])
    none = not_finite == sizes
    lowest[none], highest[none] = np.nan, np.nan
    return not_finite, lowest, highest


def _norm(values: Values, not_finite: int) -> float:
    """Euclidean, of the finite values; NaN without one."""
    if not_finite == values.size:
        return math.nan
    finite = (values[np.isfinite(values)] if not_finite else values).astype(np.float64)
    return math.sqrt(finite.dot(finite))
