"""Tables of the store, read under the contract they were written under, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.tables import CONTRACT_VERSION, contract_version
from tasks.errors import EnvironmentFailed

_BATCH_ROWS = 50_000


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


def read_tables_among(paths: Iterable[Path], columns: Sequence[str], wanted: pa.Array) -> Iterator[pa.Table]:
    """The same of the rows whose first column is one of those that are wanted; of the others no more than a batch is held.

    Several small tables are looked through at a time, as each time a hash table of all that is wanted is made.
    """
    waiting: list[pa.Table] = []
    for table in read_tables(paths, columns):
        waiting.append(table)
        if sum(each.num_rows for each in waiting) >= _BATCH_ROWS:
            yield _among(waiting, wanted)
            waiting = []
    if waiting:
        yield _among(waiting, wanted)


def _among(tables: list[pa.Table], wanted: pa.Array) -> pa.Table:
    table = pa.concat_tables(tables)
    return table.filter(pc.is_in(table.column(0), value_set=wanted))


def require_contract(schema: pa.Schema, path: Path) -> None:
    """Raises EnvironmentFailed where the schema states another version than this code's, or none."""
    version = contract_version(schema)
    if version != CONTRACT_VERSION:
        was = "no contract version" if version is None else f"contract version {version[:20]!r}"
        raise EnvironmentFailed(
            f"table {path}: written under {was}, this crossmodal reads version {CONTRACT_VERSION!r}; "
            "remove it and run again, or choose another --store"
        )
