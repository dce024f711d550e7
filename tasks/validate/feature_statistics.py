"""Figures on stored features, one row per medium that the samples need."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.expectations.features import COLUMNS
from data_contracts.refs import InputName
from tasks.contract import require_contract
from tasks.part_index import DigestPlaces
from tasks.samples import Samples

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 1024


class FeatureRow(TypedDict):
    """Figures on one stored feature; None where it has no finite value."""

    digest: str
    dtype: str
    shape: str
    """`32x32x3`."""
    length: int
    excess: int
    """Values beyond what the shape holds."""
    not_finite: int
    lowest: float | None
    highest: float | None
    spread: float | None
    norm: float | None
    values: str
    """Their sha256, shape included."""


def features_frame(samples: Samples, modality: InputName, parts: list[Path]) -> pd.DataFrame:
    """A frame of data_contracts.expectations.features.COLUMNS.

    Read from the Parquet parts as they are stored. Rows that no sample needs are not looked at.
    """
    import pandas as pd

    first: dict[str, str] = {}
    for sample, digest in zip(samples.ids, samples.digests(modality), strict=True):
        if digest is not None:
            first.setdefault(digest, sample)
    stored: dict[str, list[FeatureRow]] = defaultdict(list)
    needed = DigestPlaces(samples.column(modality).drop_null())  # once, as there may be many parts
    for part in parts:
        for row in _figures(part, needed):
            stored[row["digest"]].append(row)
    owners = Counter(rows[0]["values"] for rows in stored.values())
    records = [
        {"id": sample, "digest": digest, "copies": 0}
        if digest not in stored
        else {
            **stored[digest][0],
            "id": sample,
            "copies": len(stored[digest]),
            "variants": len({row["values"] for row in stored[digest]}),
            "same_features": owners[stored[digest][0]["values"]] - 1,
        }
        for digest, sample in first.items()
    ]
    return pd.DataFrame.from_records(records, columns=list(COLUMNS))


def columns_frame(samples: Samples, modality: InputName, parts: list[Path]) -> pd.DataFrame:
    """One row per column of the embeddings that the samples need: `id`, its number, and `spread`, highest - lowest value.

    Values that are not finite, and features of another length than the first, are left to `features_frame`.
    """
    import pandas as pd

    needed = DigestPlaces(samples.column(modality).drop_null())
    lows: np.ndarray[Any, Any] | None = None
    highs: np.ndarray[Any, Any] | None = None
    for part in parts:
        for batch in _batches(part, needed):
            rows = [row for row in _arrays(batch["values"]) if lows is None or row.size == lows.size]
            rows = [row for row in rows if row.size == rows[0].size]
            if not rows:
                continue
            block = np.stack(rows).astype(np.float64)
            low = np.where(np.isfinite(block), block, np.inf).min(axis=0)
            high = np.where(np.isfinite(block), block, -np.inf).max(axis=0)
            lows = low if lows is None else np.minimum(lows, low)
            highs = high if highs is None else np.maximum(highs, high)
    spread = np.zeros(0) if lows is None or highs is None else highs - lows
    names = [f"column {number}" for number in range(len(spread))]
    return pd.DataFrame({"id": names, "spread": np.where(np.isfinite(spread), spread, np.nan)})


def _batches(part: Path, needed: DigestPlaces) -> Iterator[pa.RecordBatch]:
    """The rows of a part that the samples need."""
    file = pq.ParquetFile(part)
    require_contract(file.schema_arrow, part)
    for batch in file.iter_batches(BATCH_ROWS, columns=["digest", "shape", "values"]):
        selected = needed.find(batch["digest"]) >= 0
        yield batch if selected.all() else batch.filter(pa.array(selected))  # which copies all values


def _figures(part: Path, needed: DigestPlaces) -> Iterator[FeatureRow]:
    for chosen in _batches(part, needed):
        dtype = np.dtype(chosen.schema.field("values").type.value_type.to_pandas_dtype()).name
        for digest, shape, values in zip(
            chosen["digest"].to_pylist(), chosen["shape"].to_pylist(), _arrays(chosen["values"]), strict=True
        ):
            yield _row(digest, dtype, shape, values)


def _arrays(column: pa.ListArray) -> Iterator[np.ndarray[Any, Any]]:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False))
    start = 0
    for end in ends.tolist():
        yield flat[start : int(end)]
        start = int(end)


def _row(digest: str, dtype: str, shape: list[int], values: np.ndarray[Any, Any]) -> FeatureRow:
    text = "x".join(str(side) for side in shape)
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return {
        "digest": digest,
        "dtype": dtype,
        "shape": text,
        "length": shape[0] if shape else 0,
        "excess": values.size - int(np.prod(shape, dtype=np.int64)),
        "not_finite": values.size - finite.size,
        "lowest": lowest,
        "highest": highest,
        "spread": None if lowest is None or highest is None else highest - lowest,
        "norm": float(np.linalg.norm(finite.astype(np.float64))) if finite.size else None,
        "values": hashlib.sha256(text.encode() + values.tobytes()).hexdigest(),
    }
