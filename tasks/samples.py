"""The samples table with types: the rows that every stage after ingest reads. Imports no torch.

A column is read when it is first asked for, and kept; a selection of the rows shares what all of them have read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_contracts.modalities import in_order
from data_contracts.refs import InputName, Split
from tasks.contract import read_table, require_contract
from tasks.errors import EnvironmentFailed
from tasks.part_index import digest_array
from tasks.store import canonical_json, verified_digest

SAMPLES = "samples.parquet"
NEAR_DUPLICATES = "near_duplicates.parquet"
METADATA = "metadata.parquet"
"""The columns that samples carry along, beside them."""
_DIGESTED_ROWS = 50_000
T = TypeVar("T")
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Samples:
    """N rows of a samples table (data_contracts.tables.samples_schema)."""

    def __init__(self, table: pa.Table) -> None:
        """The rows of a table in memory; it may lack columns that nobody asks for."""
        self._load: Callable[[str], pa.Array] = lambda name: table[name].combine_chunks()
        self._rows: int = table.num_rows
        self._columns: dict[str, pa.Array] = {}
        self._chosen_from: tuple[Samples, pa.Array] | None = None
        """What was read, and the positions in it of these rows."""
        self.names: tuple[str, ...] = tuple(table.column_names)
        """Of all columns."""

    @classmethod
    def read(cls, folder: Path) -> Samples:
        """Those in the folder of a CleanRef or ValidatedRef. EnvironmentFailed where they cannot be read."""
        path = folder / SAMPLES
        schema, rows = _attempt(path, lambda: (pq.read_schema(path), pq.read_metadata(path).num_rows))
        require_contract(schema, path)
        return cls._of(
            lambda name: _attempt(path, lambda: read_table(path, [name]))[name].combine_chunks(), schema.names, rows
        )

    @classmethod
    def _of(cls, load: Callable[[str], pa.Array], names: Sequence[str], rows: int) -> Samples:
        found = cls(pa.table({}))
        found._load, found.names, found._rows = load, tuple(names), rows
        return found

    def __len__(self) -> int:
        return self._rows

    # -- columns ---

    @property
    def inputs(self) -> tuple[InputName, ...]:
        """The inputs that have a column."""
        return in_order(self.names)

    @property
    def ids(self) -> list[str]:
        """(N,)"""
        return self._list("id")

    @property
    def labels(self) -> list[str]:
        """(N,) cells of the first label column; empty where a row has none, as rows to predict may."""
        return self._list("label")

    def targets(self, place: int, name: str) -> list[str | None]:
        """(N,) cells of the label column at this place, which has this name; None where one is not known."""
        if place == 0:
            return [cell or None for cell in self.labels]
        rows = self._list("targets") if "targets" in self.names else [None] * len(self)
        return [None if row is None else json.loads(row).get(name) for row in rows]

    @property
    def splits(self) -> list[Split]:
        """(N,)"""
        return self._list("split")

    @property
    def groups(self) -> list[str | None]:
        """(N,) None where a row has none."""
        return self._list("group")

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,)"""
        return np.asarray(self.column("weight").to_numpy(), np.float64)

    @property
    def manifest_rows(self) -> list[int]:
        """(N,) 1-based positions in the manifest."""
        return self._list("row")

    @property
    def tables(self) -> list[str | None]:
        """(N,) the manifest's tables that the rows are in; None where it has only one."""
        return self._list("table")

    def digests(self, name: InputName) -> list[str | None]:
        """(N,) of an input's canonical media; None where a row lacks it."""
        return self._list(name)

    def has(self, name: InputName) -> NDArray[np.bool_]:
        """(N,) whether a row has an input."""
        return np.asarray(self.column(name).is_valid(), bool)

    def column(self, name: str) -> pa.Array:
        """(N,) any column, as Arrow has it."""
        if name not in self._columns:
            self._columns[name] = self._load(name)
        return self._columns[name]

    def table(self, names: Sequence[str]) -> pa.Table:
        """These columns, as Arrow has them."""
        return pa.Table.from_arrays([self.column(name) for name in names], names=list(names))

    def digest(self, names: Sequence[str]) -> str:
        """digest_json of these columns as lists by their names, of which a part is in memory as Python's."""
        digest = hashlib.sha256()
        for column, name in enumerate(sorted(names)):
            digest.update(f"{'{,'[column > 0]}{canonical_json(name)}:[".encode())
            for start in range(0, len(self), _DIGESTED_ROWS):
                cells = self.column(name).slice(start, _DIGESTED_ROWS).to_pylist()
                digest.update(("," * (start > 0) + canonical_json(cells)[1:-1]).encode())
            digest.update(b"]")
        digest.update(b"}")
        return digest.hexdigest()

    def _list(self, name: str) -> list[Any]:
        found: list[Any] = self.column(name).to_pylist()
        return found

    # -- rows ---

    def take(self, rows: NDArray[np.integer[Any]] | Sequence[int]) -> Samples:
        """The rows at these positions, in this order."""
        wanted = np.ascontiguousarray(rows, np.int64)
        return self._take(pa.Array.from_buffers(pa.int64(), len(wanted), [None, pa.py_buffer(wanted)]))

    def _take(
        self, places: pa.Array
    ) -> Samples:  # of Arrow's own: what turns others into Arrow, or back, imports pandas
        read, before = self._chosen_from or (self, None)
        # Not by way of this selection, which would keep its own.
        of_all = places if before is None else before.take(places)
        found = self._of(lambda name: read.column(name).take(of_all), self.names, len(places))
        found._chosen_from = read, of_all
        return found

    def where(self, chosen: NDArray[np.bool_]) -> Samples:
        """The rows of which this (N,) is true."""
        return self.take(np.flatnonzero(chosen))

    def of_split(self, *splits: Split) -> Samples:
        """The rows of these splits."""
        return self._take(pc.indices_nonzero(pc.is_in(self.column("split"), value_set=digest_array(splits))))

    def sorted_by_id(self) -> Samples:
        """All rows, in the order of their ids."""
        return self._take(pc.sort_indices(self.column("id")))

    def count_splits(self) -> dict[Split, int]:
        """Rows per split."""
        found = {row["values"]: row["counts"] for row in self.column("split").value_counts().to_pylist()}
        return {split: found.get(split, 0) for split in SPLITS}

    def count_targets(self, place: int, name: str) -> Counter[tuple[str, str]]:
        """Rows per known cell of the label column at this place, which has this name, and split."""
        if place > 0:
            pairs = zip(self.targets(place, name), self.splits, strict=True)
            return Counter((cell, split) for cell, split in pairs if cell is not None)
        counted = self.table(["label", "split"]).group_by(["label", "split"]).aggregate([([], "count_all")])
        return Counter({(row["label"], row["split"]): row["count_all"] for row in counted.to_pylist() if row["label"]})


def read_near_duplicates(folder: Path) -> dict[str, int]:
    """Id to the cluster of near duplicates that ingest found, in the folder of a CleanRef; none where it did not look."""
    path = folder / NEAR_DUPLICATES
    if not path.is_file():
        return {}
    table = read_table(path)
    return dict(zip(table["id"].to_pylist(), table["cluster"].to_pylist(), strict=True))


def digest_of(folder: Path) -> str:
    """The sha256 of the table in a folder, taken once while it does not change. EnvironmentFailed where it is not there."""
    path = folder / SAMPLES
    return _attempt(path, lambda: verified_digest(path))


def _attempt(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except (OSError, pa.ArrowInvalid) as error:
        message = " ".join(str(error).split())[:300]
        raise EnvironmentFailed(f"samples {path}: cannot be read ({message}); run ingest again") from None
