"""Reads the manifest and digests what it names. Runs on every retrain: it is how a changed picture is noticed."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.modalities import ALL_MODALITIES, in_order, input_name, modality_of
from data_contracts.refs import IN_CELLS, InputName, ProblemName, RawRef, Target
from data_contracts.tables import CONTRACT_VERSION, raw_schema
from tasks import progress
from tasks.config import RunConfig
from tasks.config_sections import MediaPathsConfig
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.cells import read_label
from tasks.ingest.manifest.columns import Columns, find_columns
from tasks.ingest.manifest.extra_columns import metadata_json
from tasks.ingest.manifest.ids import fill_ids
from tasks.ingest.manifest.joined_columns import decide_types, describe_lacking, join_cells
from tasks.ingest.manifest.label_columns import CELLS, LabelCells
from tasks.ingest.manifest.media_files import Located, Roots, locate_inline, locate_text, make_roots
from tasks.ingest.manifest.media_index import MediaIndex
from tasks.ingest.manifest.missing_media import FOUND, FoundElsewhere, Search, locate_near
from tasks.ingest.manifest.rows import SPLITS, Folds, Inline, Manifest, Purpose, Row, split_of
from tasks.ingest.manifest.suggestions import suggest_columns
from tasks.ingest.rejected_row import Refused
from tasks.ingest.sources.detect import open_manifest
from tasks.ingest.sources.limits import read_limits
from tasks.ingest.sources.remote import make_remote
from tasks.labels import label_columns
from tasks.modalities import MODALITIES
from tasks.problems.cells import is_empty, plain, storable
from tasks.problems.registry import PROBLEMS
from tasks.store import Store, digest_json

_THREADS = 4  # reading files waits for the disk; more threads only fight for the interpreter
_CHUNK_ROWS = 500
_CHUNKS_AHEAD = 4 * _THREADS
_DIGEST_ROWS = 10_000


@dataclass(frozen=True)
class _Source:
    """One manifest with its columns resolved."""

    manifest: Manifest
    columns: Columns
    problems: tuple[ProblemName, ...]
    """Of the label columns."""
    split: str | None
    roots: Roots
    index: MediaIndex
    paths: MediaPathsConfig
    folds: Folds
    borrowed: dict[InputName, InputName]
    """What a row without it takes from another input: the sound of its video as the audio, a frame of it as the image."""


def scan(config: RunConfig, store: Store, data: Path, purpose: Purpose = "train") -> RawRef:
    """The manifest at `data` as a table in the store: named, typed, digested; nothing is decoded.

    Raises UsageError (a path or a mapped column that is not there) and DataError (no label, no rows, no media).
    """
    sources = [
        _resolve(manifest, split, config, purpose) for manifest, split in open_manifest(data, read_limits(config))
    ]
    _require_equal_media(sources, data)
    if all(source.columns.label is None for source in sources):
        _require_label(sources[0].manifest, sources[0].columns, purpose)
    picked, total, notes = _pick(sources, config)
    read = in_order({*sources[0].columns.media, *sources[0].columns.joined, *sources[0].borrowed})
    schema = raw_schema(read)
    search, labels, identities = Search(), LabelCells(_label_columns(sources, purpose)), Counter[str]()
    located = (
        pa.Table.from_pylist(fill_ids(labels.note(search.note(rows)), identities), schema=schema)
        for rows in _locate_all(picked, total, purpose)
    )
    table, found = search.resolve(pa.concat_tables([schema.empty_table(), *located]))
    if not table.num_rows:
        raise DataError(f"manifest {data}: it holds no rows")
    table, said = labels.apply(table, config.data, purpose)
    notes += [*found, *said]
    modalities = tuple(m for m in read if table[f"{m}_sha256"].null_count < table.num_rows)
    modalities = modalities or read  # no usable cell at all: ingest lists every row
    notes += [*_absent(sources[0], config), *_notes(sources, modalities, table), *_doubt_classes(table, config)]
    columns_read = (
        sources[0].columns.joined if purpose == "train" else {}
    )  # for a prediction, the model knows their types
    types, doubts = decide_types(columns_read, table, config.data)
    notes += doubts
    _require_several(config, modalities, data, purpose)
    filled = [m for m in read if m in modalities or table[m].null_count < table.num_rows]  # an empty one says nothing
    raw = _keep(table.select(raw_schema(filled).names), data, modalities, tuple(notes), purpose, store)
    named = {**sources[0].columns.media, **{name: ", ".join(of) for name, of in sources[0].columns.joined.items()}}
    columns = {name: column for name, column in named.items() if name in modalities}
    known = {"targets": _targets(sources[0]), "columns": columns, "column_types": types}
    return raw.model_copy(update=known)


def _require_several(config: RunConfig, modalities: tuple[InputName, ...], data: Path, purpose: Purpose) -> None:
    """Raises UsageError where encoders.shared names a kind of which there are not two inputs to train on."""
    for modality in config.encoders.shared if purpose == "train" else ():
        inputs = [name for name in modalities if modality_of(name) == modality]
        if len(inputs) < 2:
            raise UsageError(
                f"encoders.shared names {modality!r}, and data {data} fills {len(inputs)} {modality} columns; two are needed: "
                f"call a second one {modality}_2, name them with --set data.columns.{modality}="
                f'\'["ONE", "OTHER"]\', or leave {modality} out of encoders.shared'
            )


def _keep(
    table: pa.Table,
    data: Path,
    modalities: tuple[InputName, ...],
    notes: tuple[str, ...],
    purpose: Purpose,
    store: Store,
) -> RawRef:
    """Stores the table; its digest covers content, not places: a moved folder is the same data."""
    places = [*modalities, "detail"]
    content = digest_json({"rows": _digest_table(table.drop_columns(places)), "purpose": purpose})
    found = {"content": content, "places": _digest_table(table.select(places)), "source": str(data)}
    key = digest_json({**found, "contract": CONTRACT_VERSION})
    if store.find("raw", key) is None:
        with store.create("raw", key) as draft:
            pq.write_table(table, draft.path / "rows.parquet", compression="zstd")
    return RawRef(
        uri=f"raw/{key}", sha256=content, rows=table.num_rows, source=str(data), modalities=modalities, notes=notes
    )


def _targets(source: _Source) -> tuple[Target, ...]:
    """The label columns, whose labels ingest will tell."""
    names = source.columns.labels or ("label",)
    return tuple(Target(name=name, problem=problem) for name, problem in zip(names, source.problems, strict=True))


def _label_columns(sources: list[_Source], purpose: Purpose) -> tuple[tuple[str, ProblemName], ...]:
    """Name and problem of every label column that is read: of a prediction only the first, which it is scored by."""
    names = max((source.columns.labels for source in sources), key=len)
    columns = tuple(zip(names, sources[0].problems, strict=False))
    return columns[:1] if purpose == "predict" else columns


def _digest_table(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names:
        for start in range(0, table.num_rows, _DIGEST_ROWS):
            digest.update(digest_json([name, table[name].slice(start, _DIGEST_ROWS).to_pylist()]).encode())
    return digest.hexdigest()


# -- which rows ---


def _resolve(manifest: Manifest, split: str | None, config: RunConfig, purpose: Purpose) -> _Source:
    missing = [root for root in config.data.allowed_roots if not Path(root).is_dir()]
    if missing:
        raise UsageError(f"data.allowed_roots: {missing[0]!r} is not a folder")
    index = MediaIndex((str(manifest.root), *config.data.allowed_roots))
    suggested = suggest_columns(manifest, config.data, config.encoders, index, purpose)
    manifest = replace(suggested.manifest, notes=(*manifest.notes, *suggested.notes))
    try:
        columns = find_columns(manifest.columns, suggested.data, config.encoders, str(manifest.path), purpose)
        if split not in ("val", "test"):  # of a competition these may have none
            _require_label(manifest, columns, purpose)
    except DataError as error:
        raise DataError(f"{error}{suggested.hints}{_unreadable(manifest)}") from None
    roots = make_roots(manifest.root, config.data.allowed_roots, config.media.max_file_mb * 1e6, make_remote(config))
    problems = tuple(column.problem for column in label_columns(config.data))
    media, folds = config.data.media, config.split.folds
    return _Source(manifest, columns, problems, split, roots, index, media, folds, _borrowed(columns, config))


def _borrowed(columns: Columns, config: RunConfig) -> dict[InputName, InputName]:
    """Which inputs take the medium of another one where their own cell is empty."""
    lenders = {name: spec.borrowed_from for name, spec in MODALITIES.items() if config.encoders.of(name) != "off"}
    return {
        name: lender[0]
        for name, lender in lenders.items()
        if lender is not None and lender[0] in columns.media and getattr(config.media, lender[1])
    }


def _unreadable(manifest: Manifest) -> str:
    """What else is wrong with a manifest that is refused for its columns: rows that could not be read, with the first."""
    rows = list(manifest.rows)
    bad = [row for row in rows if row.reason]
    return (
        f"; also, {bad[0].reason} in {len(bad)} of {len(rows)} rows, row {bad[0].number}: {bad[0].detail}"
        if bad
        else ""
    )


def _require_label(manifest: Manifest, columns: Columns, purpose: Purpose) -> None:
    if purpose == "train" and columns.label is None:
        names = ", ".join(manifest.columns)
        raise DataError(
            f"manifest {manifest.path}: no column 'label' among {names}; map one with --set data.columns.label=COLUMN"
        )


def _require_equal_media(sources: list[_Source], data: Path) -> None:
    for source in sources:
        first = sources[0].columns
        if (source.columns.media, source.columns.joined) != (first.media, first.joined):
            raise DataError(f"data {data}: {source.manifest.path.name} has other media columns than its neighbours")


def _pick(sources: list[_Source], config: RunConfig) -> tuple[Iterable[tuple[_Source, Row]], int, list[str]]:
    """Every row, or `data.max_rows` of them: the smallest by a hash of their identity, split by split in proportion.

    With their number, and a note. Only under `data.max_rows` are all of them held in memory.
    """
    streamed = ((source, row) for source in sources for row in source.manifest.rows)
    wanted, counted = config.data.max_rows, sum(source.manifest.count for source in sources)
    if wanted is None or wanted >= counted:
        return streamed, counted, []
    rows = list(streamed)
    by_split: dict[str, list[int]] = {}
    for index, (source, row) in enumerate(rows):
        by_split.setdefault(str(source.split or row.values.get(source.columns.split or "")), []).append(index)
    shares = {split: wanted * len(indices) / len(rows) for split, indices in by_split.items()}
    counts = {split: max(1, int(share)) for split, share in shares.items()}
    for split in sorted(shares, key=lambda name: counts[name] - shares[name])[: max(0, wanted - sum(counts.values()))]:
        counts[split] += 1
    chosen: list[int] = []
    for split, indices in by_split.items():
        chosen += sorted(indices, key=lambda index: _stable(rows[index]))[: counts[split]]
    note = f"data.max_rows: {len(chosen)} of {len(rows)} rows are used"
    return [rows[index] for index in sorted(chosen)], len(chosen), [note]


def _stable(item: tuple[_Source, Row]) -> str:
    source, row = item
    given = row.values.get(source.columns.id or "")
    joined = [column for columns in source.columns.joined.values() for column in columns]
    media = [row.values.get(column) for column in (*source.columns.media.values(), *joined)]
    identity = str(given) if given not in (None, "") else str(media)
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()


# -- what each row holds ---


def _locate_all(picked: Iterable[tuple[_Source, Row]], total: int, purpose: Purpose) -> Iterator[list[dict[str, Any]]]:
    """The rows in the raw schema, in chunks; only a few chunks ahead are read."""
    rows = iter(picked)
    ahead: deque[Future[list[dict[str, Any]]]] = deque()
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


def _locate_chunk(chunk: list[tuple[_Source, Row]], purpose: Purpose) -> list[dict[str, Any]]:
    return [_locate_row(source, row, purpose) for source, row in chunk]


def _locate_row(source: _Source, row: Row, purpose: Purpose) -> dict[str, Any]:
    """One row in the raw schema; its first problem, if any, in `reason` and `detail`."""
    columns, values = source.columns, row.values
    result: dict[str, Any] = {"row": row.number, "id": None, "reason": row.reason, "detail": row.detail}
    result["bad_modality"] = None
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
            result[name] = None if isinstance(cell, Inline) else storable(str(cell)[:500])
            continue
        result[name], result[f"{name}_sha256"] = located.where, located.sha256
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


def _locate_cell(name: InputName, cell: Any, column: str, source: _Source, row: Row) -> Located | FoundElsewhere:
    manifest = source.manifest
    if isinstance(cell, Inline):
        return locate_inline(cell, manifest.path.absolute(), row.number, column)
    if modality_of(name) in IN_CELLS and not column.lower().endswith("_path"):
        return locate_text(cell)
    if not isinstance(cell, str):
        raise Refused("wrong-type", f"column {column!r} holds {type(cell).__name__}; expected a path or bytes")
    return locate_near(source.paths.complete(cell, modality_of(name)), name, source.roots, source.index)


def _read_roles(result: dict[str, Any], source: _Source, values: dict[str, Any], purpose: Purpose) -> None:
    """Label cells, split, group and weight. For a prediction only the label matters, and it need not be usable."""
    columns = source.columns
    read = columns.labels[:1] if purpose == "predict" else columns.labels
    result[CELLS] = [values.get(column) for column in read]
    if purpose == "predict":
        return
    result["split"] = source.split
    given = plain(values.get(columns.split)) if columns.split else None
    if source.split is None and given is not None:
        result["split"] = split_of(given, source.folds)
        if result["split"] is None:
            detail = f"{given[:50]!r} is none of {', '.join(SPLITS)}; split.folds says which values are val and test"
            _reject_row(result, "unknown-split", detail)
    result["group"] = plain(values.get(columns.group)) if columns.group else None
    result["time"] = plain(values.get(columns.time)) if columns.time else None
    result["metadata"] = metadata_json(values, (*columns.unused, columns.time))
    weight = values.get(columns.weight) if columns.weight else None
    if not is_empty(weight):
        result["weight"] = _weight(weight)
        if result["weight"] is None:
            _reject_row(result, "bad-weight", f"{str(weight)[:50]!r} is not a positive number")


def _weight(value: Any) -> float | None:
    try:
        weight = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return weight if math.isfinite(weight) and weight > 0 else None


def _reject_row(result: dict[str, Any], reason: str, detail: str, name: str | None = None) -> None:
    if result["reason"] is None:
        result["reason"], result["detail"], result["bad_modality"] = reason, detail, name


def _notes(sources: list[_Source], modalities: tuple[InputName, ...], table: pa.Table) -> list[str]:
    columns = sources[0].columns
    notes = list(dict.fromkeys(note for source in sources for note in source.manifest.notes))
    every = {**columns.media, **{name: ", ".join(several) for name, several in columns.joined.items()}}
    for name, column in every.items():
        if name not in modalities:
            what = "is empty" if table[name].null_count == table.num_rows else "has no usable cell"
            notes.append(f"column {column!r} {what} and is left out")
    if columns.unused:
        notes.append(f"columns kept as metadata, not used: {', '.join(columns.unused)}")
    return notes


def _absent(source: _Source, config: RunConfig) -> list[str]:
    """A line on every column that the config names for an input and a manifest to be predicted lacks."""
    found = source.columns.media
    named = {
        input_name(modality, number): column
        for modality in ALL_MODALITIES
        if config.encoders.of(modality) != "off" and MODALITIES[modality].joined_columns() is None
        for number, column in enumerate(config.data.columns.of(modality), start=1)
    }
    lacking = [name for name in named if name not in found]
    return [
        *(f"no column {named[name]!r}: {name} is missing in every row" for name in lacking),
        *describe_lacking(source.columns.joined, config.data),
    ]


def _doubt_classes(table: pa.Table, config: RunConfig) -> list[str]:
    """A line where labels that nobody called classes are all different numbers."""
    labels = table["label"].drop_null().to_pylist()
    if (
        config.data.problem != "auto"
        or config.data.columns.labels
        or len(labels) < 10
        or len(set(labels)) < len(labels)
    ):
        return []
    numeric = next(problem.name for problem in PROBLEMS.values() if problem.is_numeric)
    if any(read_label(label, "label", numeric)[0] is None for label in labels):
        return []
    return [
        f"label: every row has another number, and each is taken for a class; data.problem={numeric} predicts numbers"
    ]
