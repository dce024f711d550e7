"""Features from Parquet to padded numpy batches, found by the digest of their medium. Imports no torch.

A feature is an array whose first axis may vary from row to row (frames of sound, bytes of text); the others are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.modalities import in_order
from data_contracts.refs import FeatureRef, InputName
from tasks.errors import DataError
from tasks.modeling.feature_parts import read_part, read_values
from tasks.part_index import DigestPlaces
from tasks.samples import Samples
from tasks.store import Store

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Padded:
    """One modality of a batch: only the rows that have it."""

    rows: Index
    """(P,) positions in the batch of the rows that follow."""
    values: npt.NDArray[np.generic]
    """(P, L, *inner), zeros beyond each row's length; L is the longest of them."""
    lengths: Index
    """(P,)"""


@dataclass(frozen=True)
class FeatureTable:
    """All features of one modality that a run needs, end to end in one array."""

    modality: InputName
    digests: pa.Array
    starts: Index
    """(R,) where each feature begins in `values`."""
    lengths: Index
    """(R,) how many entries of `values` it has."""
    values: npt.NDArray[np.generic]
    """(sum of lengths, *inner)"""

    @classmethod
    def load(cls, store: Store, ref: FeatureRef, only: pa.Array | None = None) -> FeatureTable:
        """Reads the parts of a ref; with `only`, no more than the features of these digests.

        Raises EnvironmentFailed where a part cannot be read, DataError where its shapes contradict its values.
        """
        wanted = None if only is None else DigestPlaces(only)  # once, as there may be many parts
        parts = [part for part in (read_part(store, uri, wanted) for uri in ref.parts) if part.rows.num_rows]
        if not parts:
            return cls(ref.modality, pa.array([], pa.string()), _no_rows(), _no_rows(), np.zeros((0, 1), ref.dtype))
        rows = pa.concat_tables([part.rows for part in parts])
        shapes = _shapes(rows, ref)
        inner = tuple(int(size) for size in shapes[0, 1:])
        lengths = shapes[:, 0]
        values = read_values(parts, int(lengths.sum()) * int(np.prod(inner, dtype=np.int64)), ref)
        digests = rows["digest"].combine_chunks()
        return cls(ref.modality, digests, np.cumsum(lengths) - lengths, lengths, values.reshape(-1, *inner))

    @cached_property
    def alike(self) -> npt.NDArray[np.generic] | None:
        """(R, L, *inner) one feature after the other where all have the same length, as pictures and embeddings do."""
        if not len(self.lengths) or (self.lengths != self.lengths[0]).any():
            return None
        return self.values.reshape(len(self.lengths), -1, *self.values.shape[1:])

    def locate(self, cells: pa.ChunkedArray) -> Index:
        """(N,) the position of each digest in this table, -1 where the cell is null; DataError for an unknown one."""
        found = DigestPlaces(self.digests).find(cells)
        lost = int((found < 0).sum()) - cells.null_count
        if lost:
            raise DataError(f"{self.modality} features: {lost} of {len(cells)} samples have none; run extract again")
        return found

    def take(self, places: Index) -> Padded:
        """The features at these positions, those that are -1 left out."""
        rows = np.flatnonzero(places >= 0)
        chosen = places[rows]
        lengths = self.lengths[chosen]
        if self.alike is not None and rows.size:
            return Padded(rows, self.alike[chosen], lengths)
        longest = int(lengths.max(initial=0))
        offsets = np.arange(longest)
        inside = offsets < lengths[:, None]
        taken = self.values[np.where(inside, self.starts[chosen, None] + offsets, 0)] if rows.size else self._nothing()
        if not inside.all():
            taken[~inside] = 0
        return Padded(rows, taken, lengths)

    def _nothing(self) -> npt.NDArray[np.generic]:
        return np.zeros((0, 0, *self.values.shape[1:]), self.values.dtype)


@dataclass(frozen=True)
class Inputs:
    """Samples with their features, in the samples' order."""

    tables: Mapping[InputName, FeatureTable]
    places: Mapping[InputName, Index]
    """Modality to (N,) positions in its table, -1 where the sample lacks it."""
    rows: int

    @classmethod
    def load(
        cls,
        samples: Samples,
        features: Mapping[InputName, FeatureRef],
        store: Store,
        present: tuple[InputName, ...] | None = None,
    ) -> Inputs:
        """Loads what these samples need, in the order of the table of modalities; `given` leaves all others out."""
        names = [name for name in in_order(features) if present is None or name in present]
        tables, places = {}, {}
        for name in names:
            cells = samples.column(name)
            tables[name] = FeatureTable.load(store, features[name], only=cells.drop_null())
            places[name] = tables[name].locate(cells)
        return cls(tables, places, len(samples))

    def cut(self, first: int, last: int) -> Inputs:
        """The samples from position `first` up to `last`, over the same tables."""
        return Inputs(self.tables, {name: places[first:last] for name, places in self.places.items()}, last - first)

    def batch(self, rows: Index) -> dict[InputName, Padded]:
        """Every modality of these rows; `Padded.rows` are positions within `rows`."""
        return {name: table.take(self.places[name][rows]) for name, table in self.tables.items()}


def _shapes(table: pa.Table, ref: FeatureRef) -> Index:
    """(R, D) the shape of every feature; DataError unless all but the first axis agree."""
    column = table["shape"].combine_chunks()
    flat = np.asarray(column.flatten()).astype(np.int64)
    if flat.size % len(column) or not np.all(np.asarray(pc.list_value_length(column)) == flat.size // len(column)):
        raise DataError(f"{ref.modality} features: rows differ in their number of axes ({ref.uri}); run extract again")
    shapes = flat.reshape(len(column), -1)
    odd = int((shapes[:, 1:] != shapes[0, 1:]).any(axis=1).sum())
    if odd:
        raise DataError(
            f"{ref.modality} features: {odd} of {len(shapes)} rows do not have the shape (*, "
            f"{', '.join(map(str, shapes[0, 1:]))}) of the first ({ref.uri}); run extract again"
        )
    return shapes


def _no_rows() -> Index:
    return np.zeros(0, np.int64)
