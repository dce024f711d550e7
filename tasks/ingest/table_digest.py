"""A digest of what a table holds, taken part by part: no second copy of it is in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from tasks.store import digest_json

SLICE_ROWS = 10_000


def digest_table(table: pa.Table) -> str:
    """Covers names and cells of all columns in their order."""
    starts = range(0, table.num_rows, SLICE_ROWS)
    return digest_cells(
        (name, table[name].slice(start, SLICE_ROWS).to_pylist()) for name in table.column_names for start in starts
    )


def digest_cells(slices: Iterable[tuple[str, list[Any]]]) -> str:
    """The same of columns that come in slices of SLICE_ROWS cells, each with the column's name."""
    digest = hashlib.sha256()
    for name, cells in slices:
        digest.update(digest_json([name, cells]).encode())
    return digest.hexdigest()
