"""The stored parts of features as one numpy array, read a batch at a time: memory holds the values once, and one batch; of
more than MAPPED_BYTES a file holds them, and memory what the system leaves of it.

Arrow's lists have offsets of 32 bits, so that one list of all features would end at 2^31 values: 14,266 pictures of 224 px.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.refs import FeatureRef
from tasks.contract import require_contract
from tasks.drafts import naming_full_disk
from tasks.errors import DataError, EnvironmentFailed
from tasks.parquet_parts import find_values, read_float32
from tasks.part_index import DigestPlaces
from tasks.store import Store

BATCH_BYTES = 4 << 20
"""Of stored values that are decoded at once, which takes ten times as much; a batch has at least one row."""
MAPPED_BYTES = 1 << 30
"""Values that are more are memory-mapped."""
_BUFFER_BYTES = 1 << 20  # without it the whole column is read before any of it is decoded


@dataclass(frozen=True)
class Part:
    """One stored file, and which of its rows are wanted."""

    store: Store
    uri: str
    rows: pa.Table
    """`digest` and `shape` of the wanted rows."""
    selected: npt.NDArray[np.bool_] | None
    """(stored rows,) None: all."""
    plain: tuple[int, int] | None
    """Where its float32 values begin in the file, and how many they are; None where they must be decoded."""


def read_part(store: Store, uri: str, only: DigestPlaces | None) -> Part:
    """What a stored part holds but its values; with `only`, of these digests. EnvironmentFailed where it cannot be read."""
    try:
        with pq.ParquetFile(store.path(uri)) as file:
            require_contract(file.schema_arrow, store.path(uri))
            rows, plain = file.read(["digest", "shape"], use_threads=False), find_values(file, "values")
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(uri, error) from None
    selected = None if only is None else only.find(rows["digest"]) >= 0
    if selected is None or selected.all():
        return Part(store, uri, rows, None, plain)
    return Part(store, uri, rows.filter(pa.array(selected)), selected, plain)


def read_values(parts: Sequence[Part], size: int, ref: FeatureRef) -> npt.NDArray[np.generic]:
    """(size,) the values of all wanted rows, one after the other; DataError where there are more or fewer than `size`."""
    values = _make_room(size, ref, parts[0].store)
    filled = 0
    for part in parts:
        if (count := _read_whole(part, values[filled:])) is not None:
            filled += count
            continue
        for batch in _batches(part, ref):
            if filled + len(batch) <= size:
                values[filled : filled + len(batch)] = batch
            filled += len(batch)
    if filled != size:
        raise DataError(f"{ref.modality} features: {filled} values do not fill the shapes in {ref.uri}; extract")
    return values


def _make_room(size: int, ref: FeatureRef, store: Store) -> npt.NDArray[np.generic]:
    """(size,) to be filled: in memory, or mapped to a file without a name, which is gone with the array.

    EnvironmentFailed where the disk has no room for it: found later, that would end the process.
    """
    needed = size * np.dtype(ref.dtype).itemsize
    if needed <= MAPPED_BYTES:
        return np.empty(size, ref.dtype)
    folder = store.root / "tmp"
    with naming_full_disk(f"{ref.modality} features, {needed / 1e9:,.1f} GB of them for training to read", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if sys.platform == "darwin":  # which has no such call
                os.truncate(file.fileno(), needed)
            else:
                os.posix_fallocate(file.fileno(), 0, needed)
            return np.memmap(file, ref.dtype, "r+", shape=(size,))


def _read_whole(part: Part, into: npt.NDArray[np.generic]) -> int | None:
    """How many values the part has, read into the array if it has room; None where they must be decoded or chosen."""
    if part.selected is not None or part.plain is None or into.dtype != np.float32:
        return None
    start, size = part.plain
    if size <= len(into):
        try:
            read_float32(part.store.path(part.uri), start, into[:size])
        except OSError as error:
            raise _unreadable(part.uri, error) from None
    return size


def _batches(part: Part, ref: FeatureRef) -> Iterator[npt.NDArray[np.generic]]:
    """The wanted values of a part, some rows at a time."""
    try:
        with pq.ParquetFile(part.store.path(part.uri), buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            stored = file.schema_arrow.field("values").type.value_type
            if stored != pa.from_numpy_dtype(ref.dtype):
                raise DataError(
                    f"{ref.modality} features: part {part.uri} holds {stored}, expected {ref.dtype}; extract again"
                )
            if part.selected is not None and part.plain is not None:
                start, size = part.plain
                values = np.memmap(part.store.path(part.uri), "<f4", "r", offset=start, shape=(size,))
                yield _select(values, file, part.selected, ref)
                return
            start = 0
            for batch in file.iter_batches(_rows_at_once(file.metadata), columns=["values"]):
                lists = batch.column(0)
                if part.selected is not None:
                    lists = lists.filter(pa.array(part.selected[start : start + len(lists)]))
                start += batch.num_rows
                yield np.asarray(lists.flatten())
    except (OSError, ValueError) as error:  # ArrowInvalid is one
        raise _unreadable(part.uri, error) from None


def _select(
    values: npt.NDArray[np.float32], file: pq.ParquetFile, selected: npt.NDArray[np.bool_], ref: FeatureRef
) -> npt.NDArray[np.float32]:
    """The values of the selected rows of a part."""
    shapes = file.read(["shape"])["shape"].combine_chunks()
    sizes = np.multiply.reduceat(np.asarray(shapes.flatten()).astype(np.int64), np.asarray(shapes.offsets)[:-1])
    if sizes.sum() != len(values):
        raise DataError(f"{ref.modality} features: {len(values)} values do not fill the shapes in {ref.uri}; extract")
    if (sizes == sizes[0]).all():
        return values.reshape(len(sizes), -1)[selected].reshape(-1)
    return values[np.repeat(selected, sizes)]


def _rows_at_once(stored: pq.FileMetaData) -> int:
    """How many rows of a file have BATCH_BYTES of values, were all alike."""
    groups = [stored.row_group(number) for number in range(stored.num_row_groups)]
    size = int(sum(group.column(group.num_columns - 1).total_uncompressed_size for group in groups))
    return max(1, BATCH_BYTES * int(stored.num_rows) // max(1, size))


def _unreadable(uri: str, error: Exception) -> EnvironmentFailed:
    return EnvironmentFailed(f"feature part {uri}: cannot be read ({error}); run extract again")
