"""Tables of the store, read under the contract they were written under, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.tables import CONTRACT_VERSION, contract_version
from tasks.errors import EnvironmentFailed


def read_table(
    path: Path, columns: Sequence[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> pa.Table:
    """The table, or these columns and rows of it; its schema states the version of the contracts that this code knows.

    The keys of the stages hold the version, so that tables of another one are made anew and never looked for; this
    refuses what reaches a stage all the same: a store copied together, a ref kept from an older release.
    EnvironmentFailed says which version the table states, and what to do.
    """
    chosen = None if columns is None else list(columns)
    if filters is None:  # without pyarrow.dataset, whose import brings pandas
        with pq.ParquetFile(path) as file:
            table = file.read(chosen)
    else:
        table = pq.read_table(path, columns=chosen, filters=filters)
    require_contract(table.schema, path)
    return table


def read_tables(paths: Iterable[Path], columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of one table after the other."""
    return (read_table(path, columns) for path in paths)


def require_contract(schema: pa.Schema, path: Path) -> None:
    """Raises EnvironmentFailed where the schema states another version than this code's, or none."""
    version = contract_version(schema)
    if version != CONTRACT_VERSION:
        was = "no contract version" if version is None else f"contract version {version[:20]!r}"
        raise EnvironmentFailed(
            f"table {path}: written under {was}, this crossmodal reads version {CONTRACT_VERSION!r}; "
            "remove it and run again, or choose another --store"
        )
