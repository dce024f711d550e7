"""Each row of a manifest in the raw schema: its media found and digested, its cells read, its first problem noted."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from data_contracts.modalities import modality_of
from data_contracts.refs import IN_CELLS, InputName, Modality
from tasks import progress
from tasks.ingest.manifest.extra_columns import metadata_json
from tasks.ingest.manifest.joined_columns import join_cells
from tasks.ingest.manifest.label_columns import CELLS
from tasks.ingest.manifest.media_files import Located, locate_inline, locate_text
from tasks.ingest.manifest.missing_media import FOUND, FoundElsewhere, locate_near
from tasks.ingest.manifest.nested_columns import describe_inner
from tasks.ingest.manifest.raw_rows import RawRow
from tasks.ingest.manifest.rows import SPLITS, Cells, Inline, Purpose, Row, split_of
from tasks.ingest.manifest.source import Source
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.remote import is_remote
from tasks.problems.cells import is_empty, plain, storable
from tasks.redaction import redact

_THREADS = 4  # reading files waits for the disk; more threads only fight for the interpreter
_CHUNK_ROWS = 500
_CHUNKS_AHEAD = 4 * _THREADS


def locate_all(picked: Iterable[tuple[Source, Row]], total: int, purpose: Purpose) -> Iterator[list[RawRow]]:
    """The rows in the raw schema, in chunks; only a few chunks ahead are read."""
    rows = iter(picked)
    ahead: deque[Future[list[RawRow]]] = deque()
    done = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        while True:
            while len(ahead) < _CHUNKS_AHEAD and (chunk := list(itertools.islice(rows, _CHUNK_ROWS))):
                ahead.append(pool.submit(_locate_chunk, chunk, purpose))
            if not ahead:
                return
            located = ahead.popleft().result()
            done += len(located)
            progress.report("scan", done, max(total, done))
            yield located


def _locate_chunk(chunk: list[tuple[Source, Row]], purpose: Purpose) -> list[RawRow]:
    return [_locate_row(source, row, purpose) for source, row in chunk]


def _locate_row(source: Source, row: Row, purpose: Purpose) -> RawRow:
    """One row in the raw schema; its first problem, if any, in `reason` and `detail`."""
    columns, values = source.columns, row.values
    result: RawRow = {"row": row.number, "table": source.table, "id": None, "bad_modality": None}
    result |= {"reason": row.reason, "detail": row.detail}
    result["id"] = plain(values.get(columns.id)) if columns.id else None
    found = 0
    for name, column in columns.media.items():
        cell = values.get(column)
        if row.reason is not None or is_empty(cell):
            continue  # in a row that cannot be read, a cell may have slipped into another column
        found += 1
        try:
            located = _locate_cell(name, cell, column, source, row)
            if isinstance(located, FoundElsewhere):
                result.setdefault(FOUND, {})[name] = located.cell
                located = located.located
        except Refused as refused:
            _reject_row(result, refused.reason, refused.detail, name)
            result[name] = None if isinstance(cell, Inline) else storable(redact(str(cell))[:500])
            continue
        # An address is kept without what opens it: what is fetched again is found by its row (addresses.py).
        where = redact(located.where) if is_remote(located.where) else located.where
        result[name], result[f"{name}_sha256"] = where, located.sha256
        if located.text is not None:
            result[f"{name}_value"] = located.text
    for name, joined in join_cells(columns.joined, values) if row.reason is None else ():
        found += 1
        if isinstance(joined, Refused):
            _reject_row(result, joined.reason, joined.detail, name)
        else:
            result[name], result[f"{name}_sha256"], result[f"{name}_value"] = "", joined.sha256, joined.text
    for name, lender in source.borrowed.items():
        if is_empty(values.get(columns.media.get(name, ""))):
            result[name], result[f"{name}_sha256"] = result.get(lender), result.get(f"{lender}_sha256")
    if found == 0:
        read = [*columns.media.values(), *(column for several in columns.joined.values() for column in several)]
        _reject_row(result, "no-modality", f"all of {', '.join(read)} are empty")
    _read_roles(result, source, values, purpose)
    return result


def _locate_cell(name: InputName, cell: Any, column: str, source: Source, row: Row) -> Located | FoundElsewhere:
    manifest = source.manifest
    if isinstance(cell, Inline):
        return locate_inline(cell, manifest.path.absolute(), row.number, column)
    if modality_of(name) in IN_CELLS and not (column.lower().endswith("_path") or column in source.paths.text_files):
        return locate_text(cell)
    if not isinstance(cell, str):
        what = f"column {column!r} holds {type(cell).__name__}; expected a path or bytes"
        raise Refused("wrong-type", f"{what}{_way_out(cell, column, modality_of(name))}")
    path = source.paths.complete(cell, modality_of(name))
    return locate_near(path, name, source.roots, source.index, search=source.paths.search)


def _way_out(cell: Any, column: str, modality: Modality) -> str:
    """What to do about a cell that holds a list or an object in place of a medium."""
    if isinstance(cell, list) and cell and all(item == "bytes" for item in cell):  # as plain_cell sends them
        return f"; write each medium to a row of its own, or to a column of its own ({modality}, {modality}_2 …)"
    if isinstance(cell, list):
        return "; data.cell_separator makes each item of a list a row"
    return describe_inner(cell, column, modality)


def _read_roles(result: RawRow, source: Source, values: Cells, purpose: Purpose) -> None:
    """Label cells, group, split and weight. For a prediction only the first two matter, and a label need not be usable."""
    columns = source.columns
    read = columns.labels[:1] if purpose == "predict" else columns.labels
    result[CELLS] = [values.get(column) for column in read]
    result["group"] = plain(values.get(columns.group)) if columns.group else None
    if purpose == "predict":
        return
    result["split"] = source.split
    split_cell = plain(values.get(columns.split)) if columns.split else None
    if source.split is None and split_cell is not None:
        result["split"] = split_of(split_cell, source.folds)
        if result["split"] is None:
            shown = redact(split_cell)[:50]
            detail = f"{shown!r} is none of {', '.join(SPLITS)}; split.folds says which values are val and test"
            _reject_row(result, "unknown-split", detail)
        elif not source.folds:
            source.split_words[split_cell] = result["split"]
    result["time"] = plain(values.get(columns.time)) if columns.time else None
    result["metadata"] = metadata_json(values, source.metadata)
    weight = values.get(columns.weight) if columns.weight else None
    if not is_empty(weight):
        result["weight"] = _weight(weight)
        if result["weight"] is None:
            _reject_row(
                result, "bad-weight", f"{redact(str(weight))[:50]!r} is not a positive number with a decimal point"
            )


def _weight(value: Any) -> float | None:
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return weight if math.isfinite(weight) and weight > 0 else None


def _reject_row(result: RawRow, reason: str, detail: str, name: str | None = None) -> None:
    if result["reason"] is None:
        result["reason"], result["detail"], result["bad_modality"] = reason, detail, name
