"""Addresses of media as their manifest has them: the store keeps them without the signatures by which they are fetched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName
from tasks.config import RunConfig
from tasks.ingest.manifest.rows import Purpose, Row
from tasks.ingest.manifest.source import Source, open_sources
from tasks.ingest.rejected_row import Refused
from tasks.problems.cells import is_empty

Place = tuple[str | None, int]
"""A row: its table, where there are several, and its number."""


def find_addresses(
    data: Path, config: RunConfig, purpose: Purpose, name: InputName, rows: Collection[Place]
) -> Iterator[tuple[Place, str]]:
    """What an input's cells in these rows of the manifest at `data` name, as it stands there now.

    A row that is not there any more, or names no address, is passed over.
    """
    for source in open_sources(data, config, purpose):
        for row in source.manifest.rows:
            if (source.table, row.number) in rows and (url := _address(source, row, name)) is not None:
                yield (source.table, row.number), url


def _address(source: Source, row: Row, name: InputName) -> str | None:
    own = source.columns.media.get(name)
    lender = source.borrowed.get(name, name)  # where its own cell is empty
    name, column = (
        (lender, source.columns.media.get(lender)) if own is None or is_empty(row.values.get(own)) else (name, own)
    )
    cell = row.values.get(column) if column is not None else None
    if source.roots.remote is None or not isinstance(cell, str):
        return None
    try:
        return source.roots.remote.resolve(source.paths.complete(cell, modality_of(name)))
    except Refused:
        return None
