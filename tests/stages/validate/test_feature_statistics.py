"""The frame of figures on stored features: those of NumPy on each row by itself, whatever a batch holds."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.expectations.features import COLUMNS
from data_contracts.tables import features_schema
from tasks.samples import Samples
from tasks.validate import feature_statistics
from tasks.validate.feature_statistics import columns_frame, features_frame

DIGESTS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(6)]
ODD: dict[str, list[list[float]]] = {
    "float32": [[1.5, -2.5, 4.0], [math.nan, 2.0, -math.inf], [], [math.nan], [1.5, -2.5, 4.0], [3.0, 1e30, 1e-30]],
    "uint8": [[7, 0, 255], [1], [], [200, 200], [7, 0, 255], [3, 4]],
}


def _store(folder: Path, dtype: str, rows: list[tuple[str, list[float]]]) -> list[Path]:
    """Two parts."""
    found = [{"digest": digest, "shape": [len(values)], "values": values} for digest, values in rows]
    table = pa.Table.from_pylist(found, schema=features_schema(dtype))
    paths = [folder / f"{number}.parquet" for number in range(2)]
    for path, part in zip(paths, (table.slice(0, 4), table.slice(4)), strict=True):
        pq.write_table(part, path)
    return paths


def _samples(cells: list[str | None]) -> Samples:
    return Samples(pa.table({"id": [f"s{n}" for n in range(len(cells))], "text": pa.array(cells, pa.string())}))


def _expected(values: list[float], dtype: str) -> dict[str, Any]:
    row = np.array(values, dtype)
    finite = row[np.isfinite(row)]
    lowest, highest = (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)
    return {
        "dtype": dtype,
        "shape": str(len(row)),
        "length": len(row),
        "excess": 0,
        "not_finite": len(row) - len(finite),
        "lowest": lowest,
        "highest": highest,
        "spread": highest - lowest,
        "norm": float(np.linalg.norm(finite.astype(np.float64))) if finite.size else math.nan,
    }


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("at_once", [1, 2, 1024])
def test_each_row_has_the_figures_it_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, at_once: int
) -> None:
    monkeypatch.setattr(feature_statistics, "BATCH_ROWS", at_once)
    parts = _store(tmp_path, dtype, list(zip(DIGESTS, ODD[dtype], strict=True)))
    frame = features_frame(_samples([*DIGESTS[::-1], None, DIGESTS[0]]), "text", parts)
    assert tuple(frame.columns) == COLUMNS
    assert frame["digest"].tolist() == DIGESTS[::-1]
    assert frame["id"].tolist() == ["s0", "s1", "s2", "s3", "s4", "s5"], "of the first sample that needs it"
    assert frame["copies"].tolist() == frame["variants"].tolist() == [1] * 6
    assert frame["same_features"].tolist() == [0, 1, 0, 0, 0, 1]
    for found, values in zip(frame.to_dict("records"), ODD[dtype][::-1], strict=True):
        for name, figure in _expected(values, dtype).items():
            assert found[name] == figure or (math.isnan(figure) and math.isnan(found[name])), (name, values)


def test_what_is_stored_several_times_is_counted_and_what_is_not_stored_is_null(tmp_path: Path) -> None:
    first, second, third, lost = DIGESTS[:4]
    rows = [(first, [1.0, 2.0]), (second, [3.0]), (first, [5.0]), (first, [1.0, 2.0]), (second, [3.0]), (third, [1.0])]
    frame = features_frame(_samples([first, second, lost]), "text", _store(tmp_path, "float32", rows))
    assert frame["copies"].tolist() == [3, 2, 0]
    assert frame["variants"].tolist()[:2] == [2, 1]
    assert frame["highest"].tolist()[:2] == [2.0, 3.0], "of the first that is stored"
    assert frame[[name for name in COLUMNS if name not in ("id", "digest", "copies")]].iloc[2].isna().all()
    assert frame["digest"].tolist() == [first, second, lost], "third is needed by no sample"


def test_columns_are_those_of_features_as_long_as_the_first(tmp_path: Path) -> None:
    rows = [(DIGESTS[0], [1.0, 5.0]), (DIGESTS[1], [3.0, math.nan]), (DIGESTS[2], [9.0]), (DIGESTS[3], [2.0, 4.0])]
    frame = columns_frame(
        _samples([*DIGESTS[:4]]), "text", _store(tmp_path, "float32", [*rows, (DIGESTS[5], [99.0, 99.0])])
    )
    assert frame["spread"].tolist() == [2.0, 1.0]
    assert columns_frame(_samples([None]), "text", []).empty
