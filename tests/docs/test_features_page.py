"""Features as other programs read them: the lines of docs/features.md, run as they stand there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_contracts.tables import features_schema
from tasks.store import Store
from tests.support.paths import ROOT

BLOCKS = re.findall(r"## ([^\n]+)\n\n```python\n(.+?)```", (ROOT / "docs/features.md").read_text("utf-8"), re.DOTALL)
NEEDED = {"pandas": "pandas", "polars": "polars", "DuckDB": "duckdb", "Lance": "lance", "HF datasets": "datasets"}


def test_every_program_has_three_lines() -> None:
    assert {name: len(list(filter(None, code.splitlines()))) for name, code in BLOCKS} == dict.fromkeys(NEEDED, 3)


@pytest.mark.parametrize(("name", "code"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_it_reads_what_extraction_writes(name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(NEEDED[name]) is None:
        pytest.skip(f"{NEEDED[name]} is not installed")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    written = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)
    store = Store(tmp_path / ".crossmodal")
    store.prepare()
    for key, rows in (("a", written[:3]), ("b", written[3:])):
        lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), 4)
        columns = [
            pa.array([f"{key}{n}" for n in range(len(rows))]),
            pa.array([[4]] * len(rows), pa.list_(pa.int32())),
            lists,
        ]
        table = pa.Table.from_arrays(columns, schema=features_schema("float32", 4, {"shape": [4]}))
        store.put_part("features/image/FINGERPRINT", key, table)
    found: dict[str, object] = {}
    exec(code, found)
    np.testing.assert_array_equal(np.asarray(found["vectors"], np.float32), written)
