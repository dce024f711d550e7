"""What is known of a row beside its content: brightness, length, silence, folder and format of its file, its columns."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from data_contracts.modalities import modality_of
from data_contracts.refs import InputName, RawRef, ValidatedRef
from tasks.audit.rows import AuditRows
from tasks.contract import read_table
from tasks.escaping import one_line
from tasks.media.media_store import MediaReader
from tasks.modalities import spec_of
from tasks.samples import METADATA
from tasks.store import Store

MEASURED_ROWS = 5_000
"""Rows whose media are opened, evenly spaced in the order of their ids."""
BINS = 10
MOST_VALUES = 50
"""A column with more values than this, or a value for each row, sorts rows into nothing."""
NAME_CHARS = 60


@dataclass(frozen=True)
class Circumstance:
    """One thing that is known of the N rows."""

    name: str
    codes: NDArray[np.int64]
    """(N,) number of the value, or of the tenth of the range, that a row has; -1: not known."""
    values: tuple[str, ...]
    """What the numbers stand for."""


def circumstances(rows: AuditRows, valid: ValidatedRef, raw: RawRef, store: Store) -> list[Circumstance]:
    """All that can tell rows apart: those that have two values or more."""
    found = [*_measured(rows, valid, store), *_files(rows, raw, store), *_columns(rows, valid, store)]
    return [each for each in found if each is not None]


def category(name: str, cells: Iterable[str | None]) -> Circumstance | None:
    """A circumstance of values; None where they sort the rows into nothing."""
    listed = list(cells)
    counts = Counter(cell for cell in listed if cell is not None)
    if not 2 <= len(counts) <= MOST_VALUES or counts.most_common(1)[0][1] < 2:
        return None
    values = tuple(sorted(counts))
    place = {value: number for number, value in enumerate(values)}
    codes = np.array([-1 if cell is None else place[cell] for cell in listed], np.int64)
    return Circumstance(one_line(name, NAME_CHARS), codes, tuple(one_line(value, NAME_CHARS) for value in values))


def number(name: str, values: NDArray[np.floating]) -> Circumstance | None:
    """A circumstance of numbers (N,), NaN unknown, in tenths of equally many rows; None where all are equal."""
    known = values[~np.isnan(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1))) if len(known) else np.zeros(0)
    if len(edges) < 2:
        return None
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    codes[np.isnan(values)] = -1
    texts = tuple(f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges))
    return Circumstance(name, codes.astype(np.int64), texts)


def _measured(rows: AuditRows, valid: ValidatedRef, store: Store) -> list[Circumstance | None]:
    """What can be measured of every input's media without a model, and whether the input is there."""
    found: list[Circumstance | None] = []
    count = len(rows.samples)
    chosen = np.linspace(0, count - 1, min(count, MEASURED_ROWS)).round().astype(int).tolist()
    for name in valid.clean.modalities:
        digests = rows.samples.digests(name)
        present = ["missing" if digest is None else "there" for digest in digests]
        found.append(category(f"{name} is there", present))
        asked = {digest for place in chosen if (digest := digests[place]) is not None}
        measures = _measures(name, valid.clean.media[name], asked, store)
        for measure in sorted({measure for each in measures.values() for measure in each}):
            values = np.full(len(digests), np.nan)
            for place in chosen:
                values[place] = measures.get(str(digests[place]), {}).get(measure, np.nan)
            found.append(number(f"{name} {measure}", values))
    return found


def _measures(name: InputName, fingerprint: str, digests: Iterable[str], store: Store) -> dict[str, dict[str, float]]:
    reader, spec = MediaReader(store, modality_of(name), fingerprint), spec_of(name)
    return {digest: spec.circumstances(medium, reader.rate_hz) for digest, medium in reader.read(sorted(digests))}


def _files(rows: AuditRows, raw: RawRef, store: Store) -> list[Circumstance | None]:
    """Folder and format of every input's files, and the table that a row is in."""
    path = store.path(raw.uri) / "rows.parquet"
    table = read_table(path, ["row", "table", *raw.modalities])
    keys = zip(table["row"].to_pylist(), table["table"].to_pylist(), strict=True)
    place = {key: number for number, key in enumerate(keys)}
    taken = pa.array(
        [place.get(key) for key in zip(rows.samples.manifest_rows, rows.samples.tables, strict=True)], pa.int64()
    )
    found = [category("table", rows.samples.tables)]
    for name in raw.modalities:
        paths = table[name].combine_chunks().take(taken).to_pylist()
        files = [None if text is None or ":" in text.partition("/")[0] else PurePath(text) for text in paths]
        found.append(category(f"{name} format", (None if file is None else file.suffix.lower() for file in files)))
        found.append(category(f"{name} folder", (None if file is None else file.parent.name for file in files)))
    return found


def _columns(rows: AuditRows, valid: ValidatedRef, store: Store) -> list[Circumstance | None]:
    """The group, and the user's own columns that no model reads."""
    held = read_table(store.path(valid.clean.uri) / METADATA)
    of_id = dict(zip(held["id"].to_pylist(), held["metadata"].to_pylist(), strict=True))
    cells: list[dict[str, JsonValue]] = [json.loads(of_id.get(each) or "{}") for each in rows.samples.ids]
    names = sorted({name for row in cells for name in row})
    columns = [category(f"column {name}", (_text(row.get(name)) for row in cells)) for name in names]
    return [category("group", rows.samples.groups), *columns]


def _text(cell: Any) -> str | None:
    return None if cell is None or cell == "" else str(cell)
