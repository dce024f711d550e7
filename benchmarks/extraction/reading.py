"""Features of one Parquet part after the other into one array, as training reads them, against np.load of that array."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.extraction.timing import Row, in_turns
from data_contracts.refs import FeatureRef
from data_contracts.tables import features_schema
from tasks.modeling.features import FeatureTable
from tasks.store import Store

WIDTH = 768
GOAL = 1.3
"""Ours / theirs, at most."""
_PART_ROWS = 4096


def measure(rows: int, rounds: int) -> Iterator[Row]:
    """One row."""
    values = np.random.default_rng(0).standard_normal((rows, WIDTH), dtype=np.float32)
    with tempfile.TemporaryDirectory() as work:
        store = Store(Path(work) / "store")
        store.prepare()
        ref = _write(store, values)
        np.save(Path(work) / "values.npy", values)
        loaded = FeatureTable.load(store, ref)
        if loaded.alike is None or not np.array_equal(loaded.alike.reshape(rows, WIDTH), values):
            raise AssertionError("what was read is not what was written")
        del loaded, values
        costs = in_turns(
            {
                "ours": lambda: FeatureTable.load(store, ref),
                "theirs": lambda: np.load(Path(work) / "values.npy"),
            },
            rounds,
        )
    yield Row(f"{rows:,} x {WIDTH} features", "np.load", costs["ours"], costs["theirs"], rows, 1 / GOAL)


def _write(store: Store, values: np.ndarray) -> FeatureRef:
    """As the extract stage writes vectors."""
    kind, digests = "features/text/benchmark", [hashlib.sha256(b"%d" % row).hexdigest() for row in range(len(values))]
    for start in range(0, len(values), _PART_ROWS):
        part = values[start : start + _PART_ROWS]
        columns = [
            pa.array(digests[start : start + _PART_ROWS]),
            pa.array([[WIDTH]] * len(part), pa.list_(pa.int32())),
            pa.ListArray.from_arrays(np.arange(len(part) + 1, dtype=np.int32) * WIDTH, pa.array(part.reshape(-1))),
        ]
        store.put_part(kind, f"{start:08d}", pa.Table.from_arrays(columns, schema=features_schema("float32")))
    return FeatureRef(
        uri=kind,
        sha256="0" * 64,
        rows=len(values),
        parents=(),
        modality="text",
        encoder="tiny",
        fingerprint="0" * 64,
        parts=tuple(store.parts(kind)),
        dtype="float32",
        computed=0,
        reused=len(values),
    )
