"""Frozen features as a classifier of scikit-learn takes them: all inputs beside each other, standardised by the train rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_contracts.refs import FeatureRef, InputName, ValidatedRef
from tasks.modalities import spec_of
from tasks.modeling.features import FeatureTable, Inputs
from tasks.problems.metric import Indices
from tasks.samples import Samples
from tasks.store import Store

Floats = NDArray[np.float32]
CHUNK = 4096  # rows that are standardised at once


@dataclass(frozen=True)
class Table:
    """Rows of one split as a classifier of scikit-learn takes them."""

    features: Floats
    """(N, D): the modalities beside each other, zeros where one is missing, and per modality whether it is there."""
    truth: Indices
    """(N,) positions in the labels."""
    weights: NDArray[np.float64]
    """(N,)"""

    def take(self, rows: Indices) -> Table:
        """Some of the rows."""
        return Table(self.features[rows], self.truth[rows], self.weights[rows])


@dataclass(frozen=True)
class BaselineRows:
    """The rows of all splits, whose features are copied from where training reads them once it is known which are needed."""

    inputs: Inputs
    powers: Mapping[InputName, float]
    """Of the scaling of each input."""
    presence: Floats
    """(N, K) standardised, see `_presence`."""
    truth: Indices
    """(N,) positions in the labels, -1 for others."""
    weights: NDArray[np.float64]
    """(N,)"""
    places: Mapping[str, Indices]
    """Split to the positions of its rows."""

    @classmethod
    def read(
        cls,
        valid: ValidatedRef,
        features: Mapping[InputName, FeatureRef],
        labels: tuple[str, ...],
        store: Store,
    ) -> BaselineRows:
        """The test rows, and those of train and val whose label is known."""
        samples = Samples.read(store.path(valid.uri))
        used = (_positions(samples, labels) >= 0) | _is_of(samples, "test")
        samples = samples if used.all() else samples.where(used)  # which would hold every column twice
        inputs = Inputs.load(samples, features, store)
        presence = _presence(list(inputs.places.values()))
        _standardise(presence, _is_of(samples, "train"), 1.0)
        return cls(
            inputs,
            {name: scaling_of(name, features[name].encoder) for name in inputs.tables},
            presence,
            _positions(samples, labels),
            samples.weights,
            {name: np.flatnonzero(_is_of(samples, name)) for name in ("train", "val", "test")},
        )

    @property
    def width(self) -> int:
        """D, of all inputs and presence."""
        return sum(map(_width, self.inputs.tables.values())) + int(self.presence.shape[1])

    def tables(self, train: Indices) -> dict[str, Table]:
        """Every split, of train only these rows; standardised by all train rows."""
        scales = {name: self._scale(name) for name in self.inputs.tables}
        chosen = {**self.places, "train": train}
        return {
            name: Table(self._matrix(rows, scales), self.truth[rows], self.weights[rows])
            for name, rows in chosen.items()
        }

    def _matrix(self, rows: Indices, scales: Mapping[InputName, tuple[Floats, Floats]]) -> Floats:
        found = np.empty((len(rows), self.width), np.float32)
        end = 0
        for name, (mean, deviation) in scales.items():
            start, end = end, end + len(mean)
            for first in range(0, len(rows), CHUNK):
                block = self._dense(name, rows[first : first + CHUNK])
                block -= mean
                block /= deviation
                found[first : first + CHUNK, start:end] = block
        found[:, end:] = self.presence[rows]
        return found

    def _scale(self, name: InputName) -> tuple[Floats, Floats]:
        """The mean (D,) of an input over the train rows, and what is divided by (D,): 1 for a constant column, so that it
        becomes 0."""
        rows = self.places["train"]
        blocks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
        mean = _mean_of(self._dense(name, block).astype(np.float64) for block in blocks)
        deviation = np.sqrt(_mean_of((self._dense(name, block) - mean) ** 2 for block in blocks))
        divisor = np.where(deviation > 0, deviation ** self.powers[name], 1)
        return mean.astype(np.float32), divisor.astype(np.float32)

    def _dense(self, name: InputName, rows: Indices) -> Floats:
        """(R, D) of these rows, zeros where one lacks the input."""
        table = self.inputs.tables[name]
        taken = table.take(self.inputs.places[name][rows])
        dense = np.zeros((len(rows), _width(table)), np.float32)
        dense[taken.rows] = taken.values.reshape(len(taken.rows), dense.shape[1])
        return dense


def _width(table: FeatureTable) -> int:
    return table.values.size // max(len(table.lengths), 1)


def _mean_of(blocks: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(D,) the mean of all rows of (R, D) blocks, added up row after row as NumPy adds them up in one array."""
    rows, total = 0, None
    for block in blocks:
        rows += len(block)
        total = np.add.reduce(block if total is None else np.concatenate([total[None], block]), axis=0)
    assert total is not None  # there are train rows
    return np.asarray(total / rows, np.float64)


def _positions(samples: Samples, labels: tuple[str, ...]) -> Indices:
    """(N,) of each row's label among these; -1 for another."""
    found = pc.index_in(samples.column("label"), value_set=pa.array(labels, pa.string()))
    return np.asarray(found.fill_null(-1)).astype(np.int64)


def _is_of(samples: Samples, split: str) -> NDArray[np.bool_]:
    """(N,) whether each row is of the split."""
    return np.asarray(pc.equal(samples.column("split"), split), bool)


def scaling_of(name: InputName, encoder: str) -> float:
    """The power of their deviation by which features are divided: 1 but for some classical ones."""
    power = spec_of(name).classical_scaling if encoder == "classical" else None
    return 1.0 if power is None else power


def make_tables(samples: Samples, labels: tuple[str, ...], parts: Sequence[tuple[Floats, float]]) -> dict[str, Table]:
    """The same of (N, D) features, each with the power of its scaling; what is handed in is scaled in place."""
    split = np.array(samples.splits)
    for part, power in parts:
        _standardise(part, split == "train", power)
    matrix = np.concatenate([part for part, _ in parts], axis=1)
    whole = Table(matrix, _positions(samples, labels), samples.weights)
    return {name: whole.take(np.flatnonzero(split == name)) for name in ("train", "val", "test")}


def _presence(places: Sequence[Indices]) -> Floats:
    """(N, K) 1 where the modality is there; a column that says nothing is left out."""
    columns = [each >= 0 for each in places]
    telling = [column for column in columns if not column.all()]
    return np.stack(telling, axis=1).astype(np.float32) if telling else np.zeros((len(places[0]), 0), np.float32)


def _standardise(matrix: Floats, train: NDArray[np.bool_], power: float) -> None:
    """Mean 0 and, of power 1, deviation 1 on the train rows, in place, a block of columns at a time; constant columns
    become 0."""
    for start in range(0, matrix.shape[1], 256):
        block = matrix[:, start : start + 256]
        seen = block[train]
        mean, deviation = seen.mean(axis=0, dtype=np.float64), seen.std(axis=0, dtype=np.float64)
        block -= mean.astype(np.float32)
        block /= np.where(deviation > 0, deviation**power, 1).astype(np.float32)
