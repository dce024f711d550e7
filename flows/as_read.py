"""A run's rows as its manifest holds them, beside what was made of each: for looking at one row, and for packing some."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from data_contracts.refs import RawRef
from data_contracts.row_examples import row_name
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import UsageError
from tasks.ingest.manifest.media_files import INLINE, split_inline
from tasks.ingest.manifest.raw_rows import RawRow
from tasks.ingest.manifest.rows import Inline, Manifest, Row
from tasks.ingest.sources.detect import open_manifest, tables_of
from tasks.ingest.sources.isolated import read_inline
from tasks.ingest.sources.limits import read_limits
from tasks.ingest.sources.remote import is_remote
from tasks.media.files import NotRegular, open_regular_file
from tasks.store import Store


class ReadRow(NamedTuple):
    """One row."""

    manifest: Manifest
    row: Row
    """The cells, by column of the manifest."""
    raw: RawRow
    """The row of the raw table: where each medium lies, its digest, why it was refused."""

    @property
    def name(self) -> str:
        """As messages call it."""
        return row_name(self.row.number, self.raw["table"])


def rows_as_read(raw: RawRef, config: RunConfig, store: Store) -> Iterator[ReadRow]:
    """Every row that the run read, in its order. UsageError where the manifest is gone, or has other rows by now."""
    table = read_table(store.path(raw.uri) / "rows.parquet").to_pylist()
    waiting = iter(table)
    current = next(waiting, None)
    source = Path(raw.source)
    manifests = [manifest for manifest, _ in open_manifest(source, read_limits(config))]
    for manifest, name in zip(manifests, tables_of(manifests, source), strict=True):
        for row in manifest.rows:
            # under data.max_rows some are passed over
            if current is not None and (current["table"], current["row"]) == (name, row.number):
                yield ReadRow(manifest, row, current)
                current = next(waiting, None)
    if current is not None:
        raise UsageError(
            f"data {raw.source!r}: {row_name(current['row'], current['table'])} is not there any more; the manifest has changed"
        )


def medium_bytes(where: str | None, config: RunConfig, most: int) -> bytes | None:
    """The bytes of a medium as its source holds them; None for a text in a cell, an address, what is gone or too large."""
    if not where or is_remote(where):
        return None
    if where.startswith(INLINE):
        file, column, row = split_inline(where)
        return next(
            (data for _, data in read_inline(file, column, {row}, read_limits(config)) if len(data) <= most), None
        )
    try:
        handle, _ = open_regular_file(where, most)
    except (NotRegular, OSError):  # gone, or another thing by now
        return None
    with os.fdopen(handle, "rb") as source:
        return source.read()


def cell_text(value: Any) -> Any:
    """A cell as JSON holds it; bytes inside a manifest by their digest."""
    if isinstance(value, Inline):
        return f"bytes, sha256 {value.sha256}"
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
