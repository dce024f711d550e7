"""How a part of the store is written as Parquet, so that its numbers are quick to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_SPLIT = (pa.uint8(), pa.int16())
"""Numbers whose lists are written byte by byte. Parquet's default makes words of 32 bits of them and looks for repeated ones:
pixels of 160 px took three times as long to write so, and nearly five times as long to read, for a file of one size."""
_PLAIN = pa.float32()
"""Numbers whose lists are written as they lie in memory: compressed, vectors are a seventh smaller, and take 13 times as long
to read as a file of NumPy's."""
_MARK = b"crossmodal.one_page"
"""Names a column of such lists that is one page, so that its values are the last bytes of the column's."""
_PAGE_BYTES = 2_000_000_000


def write_part(table: pa.Table, path: Path) -> None:
    """Writes the table as one file, zstd but for lists of float32."""
    lists = {field.name: field.type.value_type for field in table.schema if _is_list(field.type)}
    split = [name for name, kind in lists.items() if kind in _SPLIT]
    plain = [name for name, kind in lists.items() if kind == _PLAIN]
    paths = {name: f"{name}.list.element" if name in lists else name for name in table.schema.names}
    options: dict[str, Any] = {"compression": "zstd", "compression_level": 1}
    if split or plain:
        options["use_dictionary"] = [path for name, path in paths.items() if name not in (*split, *plain)]
    if split:
        options["column_encoding"] = {paths[name]: "BYTE_STREAM_SPLIT" for name in split}
    if plain:
        options["compression"] = {path: "none" if name in plain else "zstd" for name, path in paths.items()}
        options["compression_level"] = {path: 1 for name, path in paths.items() if name not in plain}
        options |= {"data_page_size": _PAGE_BYTES, "max_rows_per_page": 2**31 - 1}
    if len(plain) == 1 and _fills_a_page(table[plain[0]]):
        options["row_group_size"] = table.num_rows
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _MARK: plain[0]})
    pq.write_table(table, path, **options)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind))


def _fills_a_page(column: pa.ChunkedArray) -> bool:
    """Whether every entry of the lists has a value, so that they can be counted by their bytes, and one page holds them."""
    if not len(column) or column.null_count or pc.list_flatten(column).null_count:
        return False
    return bool(pc.min(pc.list_value_length(column)).as_py() > 0 and column.nbytes < _PAGE_BYTES)


def find_values(file: pq.ParquetFile, name: str) -> tuple[int, int] | None:
    """Where the float32 values of a list column of all rows begin in the file, in bytes, and how many they are; None where they
    do not lie there as in memory.
    """
    if (file.schema_arrow.metadata or {}).get(_MARK) != name.encode() or file.metadata.num_row_groups != 1:
        return None
    group = file.metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    (column,) = [each for each in columns if each.path_in_schema == f"{name}.list.element"]
    size = int(column.num_values)
    return int(column.data_page_offset + column.total_compressed_size) - 4 * size, size


def read_float32(path: Path, start: int, into: npt.NDArray[np.generic]) -> None:
    """Fills the array with what lies in the file from byte `start`. OSError where the file ends before."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        if file.readinto(into.data.cast("B")) != into.nbytes:  # what is asked for is less than Linux reads at once
            raise OSError(f"ends before {into.nbytes} bytes from {start}")
