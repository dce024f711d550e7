"""Lists of float32 lie in a part as in memory, so that they are read without being decoded."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.parquet_parts import find_values, read_float32, write_part


def _table(rows: int, width: int, fixed: bool) -> pa.Table:
    values = pa.array(np.random.default_rng(0).standard_normal(rows * width, dtype=np.float32))
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    lists = pa.FixedSizeListArray.from_arrays(values, width) if fixed else pa.ListArray.from_arrays(offsets, values)
    shapes = pa.array([[width]] * rows, pa.list_(pa.int32()))
    return pa.table({"digest": [str(row) for row in range(rows)], "shape": shapes, "values": lists})


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (3, 5), (50_000, 64)])  # the last: many pages by default
@pytest.mark.parametrize("fixed", [False, True])
def test_the_values_are_the_bytes_where_they_are_said_to_be(tmp_path: Path, rows: int, width: int, fixed: bool) -> None:
    table = _table(rows, width, fixed)
    write_part(table, tmp_path / "part.parquet")
    with pq.ParquetFile(tmp_path / "part.parquet") as file:
        found = find_values(file, "values")
    assert found is not None
    assert found[1] == rows * width
    into = np.empty(found[1], np.float32)
    read_float32(tmp_path / "part.parquet", found[0], into)
    np.testing.assert_array_equal(into, np.asarray(table["values"].combine_chunks().values))
    assert pq.read_table(tmp_path / "part.parquet").equals(table), "and any reader of Parquet reads them"


@pytest.mark.parametrize("lists", [[[1.0], []], [[1.0], None], [[1.0, None]], []])
def test_lists_with_gaps_are_left_to_arrow(tmp_path: Path, lists: list[list[float | None] | None]) -> None:
    table = pa.table({"values": pa.array(lists, pa.list_(pa.float32()))})
    write_part(table, tmp_path / "part.parquet")
    with pq.ParquetFile(tmp_path / "part.parquet") as file:
        assert find_values(file, "values") is None
    assert pq.read_table(tmp_path / "part.parquet").equals(table)


def test_a_file_that_ends_too_soon_is_said(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(6))
    with pytest.raises(OSError, match="ends before 8 bytes from 0"):
        read_float32(tmp_path / "short", 0, np.empty(2, np.float32))
