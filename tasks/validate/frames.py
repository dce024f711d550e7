"""Figures on stored features, one row per medium that the samples need."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.expectations.features import COLUMNS
from data_contracts.refs import Modality
from tasks.contract import require_contract

if TYPE_CHECKING:
    import pandas as pd

BATCH_ROWS = 1024


def features_frame(samples: pa.Table, modality: Modality, parts: list[Path]) -> pd.DataFrame:
    """A frame of data_contracts.expectations.features.COLUMNS.

    Read from the Parquet parts as they are stored. Rows that no sample needs are not looked at.
    """
    import pandas as pd

    first: dict[str, str] = {}
    for sample, digest in zip(samples["id"].to_pylist(), samples[modality].to_pylist(), strict=True):
        if digest is not None:
            first.setdefault(digest, sample)
    stored: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for part in parts:
        for row in _figures(part, pa.array(list(first), pa.string())):
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
            "twins": owners[stored[digest][0]["values"]] - 1,
        }
        for digest, sample in first.items()
    ]
    return pd.DataFrame.from_records(records, columns=list(COLUMNS))


def _figures(part: Path, needed: pa.Array) -> Iterator[dict[str, Any]]:
    file = pq.ParquetFile(part)
    require_contract(file.schema_arrow, part)
    dtype = np.dtype(file.schema_arrow.field("values").type.value_type.to_pandas_dtype()).name
    for batch in file.iter_batches(BATCH_ROWS, columns=["digest", "shape", "values"]):
        chosen = batch.filter(pc.is_in(batch["digest"], needed))
        for digest, shape, values in zip(
            chosen["digest"].to_pylist(), chosen["shape"].to_pylist(), _arrays(chosen["values"]), strict=True
        ):
            yield {"digest": digest, "dtype": dtype, **_row(shape, values)}


def _arrays(column: pa.ListArray) -> Iterator[np.ndarray[Any, Any]]:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False))
    start = 0
    for end in ends.tolist():
        yield flat[start : int(end)]
        start = int(end)


def _row(shape: list[int], values: np.ndarray[Any, Any]) -> dict[str, Any]:
    text = "x".join(str(side) for side in shape)
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return {
        "shape": text,
        "length": shape[0] if shape else 0,
        "excess": values.size - int(np.prod(shape, dtype=np.int64)),
        "not_finite": values.size - finite.size,
        "lowest": lowest,
        "highest": highest,
        "spread": None if lowest is None or highest is None else highest - lowest,
        "values": hashlib.sha256(text.encode() + values.tobytes()).hexdigest(),
    }
