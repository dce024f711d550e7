"""A small store with clean samples and their features, and ways to spoil them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.refs import CleanRef, FeatureRef, InputName, RowCounts
from data_contracts.tables import features_schema, samples_schema
from tasks.config import load_config
from tasks.store import Store
from tests.support.data import TINY

LABELS = ("cat", "dog", "owl")
ROWS = 36
MODALITIES: tuple[InputName, ...] = ("image", "text", "audio")
SHAPES = {"image": (32, 32, 3), "text": (9,), "audio": (20, 64)}
CONFIG = load_config({}, TINY)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def good_rows() -> list[dict[str, Any]]:
    """36 rows, 12 per class, 24/6/6 in train/val/test; every fifth text is missing."""
    splits = ["train"] * 4 + ["val", "test"]
    return [
        {
            "id": f"s{row:02d}",
            "label": LABELS[row % 3],
            "targets": None,
            "split": splits[row // 6],
            "group": None,
            "weight": 1.0,
            "image": digest(f"image {row}"),
            "text": None if row % 5 == 0 else digest(f"text {row}"),
            "audio": digest(f"audio {row}"),
            "video": None,
            "row": row + 1,
            "table": None,
        }
        for row in range(ROWS)
    ]


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as a table whose columns may hold nulls: a corrupted file does not keep to its schema either."""
    fields = [field.with_nullable(True) for field in samples_schema() if field.name in rows[0]]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields, metadata=samples_schema().metadata))


def good_features(modality: InputName) -> list[dict[str, Any]]:
    """One stored feature per distinct medium of the good rows."""
    rng = np.random.default_rng(7)
    media = [row[modality] for row in good_rows() if row[modality] is not None]
    shape = SHAPES[modality]
    size = int(np.prod(shape))
    draw = (lambda: rng.uniform(-13, 3, size)) if modality == "audio" else (lambda: rng.integers(0, 256, size))
    return [{"digest": medium, "shape": list(shape), "values": draw().tolist()} for medium in media]


def dtype_of(modality: InputName) -> str:
    return "float32" if modality == "audio" else "uint8"


@dataclass
class Bench:
    """Puts tables into a store and hands out the refs that earlier stages would."""

    store: Store

    def clean(self, rows: list[dict[str, Any]]) -> CleanRef:
        table = table_of(rows)
        key = digest(repr(rows))
        folder = self.store.path(f"clean/{key}")
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / "samples.parquet")
        counts = RowCounts(rows_in=len(rows), used=len(rows), quarantined=0, duplicates=0)
        return CleanRef(
            uri=f"clean/{key}",
            sha256=key,
            rows=len(rows),
            counts=counts,
            splits={},
            labels=LABELS,
            modalities=MODALITIES,
            media={},
        )

    def features(self, modality: InputName, rows: list[dict[str, Any]], dtype: str | None = None) -> FeatureRef:
        kind = dtype or dtype_of(modality)
        table = pa.Table.from_pylist(rows, schema=features_schema(kind))
        part = self.store.put_part(f"features/{modality}/test", "shard", table)
        return FeatureRef(
            uri=f"features/{modality}/test",
            sha256=digest(part),
            rows=len(rows),
            modality=modality,
            encoder="tiny",
            fingerprint=digest(modality),
            parts=(part,),
            dtype="float32" if kind == "float32" else "uint8",
            computed=len(rows),
            reused=0,
        )
