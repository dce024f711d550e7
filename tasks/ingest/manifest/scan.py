"""Reads the manifest and digests what it names, as far as it has changed: it is how a changed picture is noticed."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from data_contracts.modalities import in_order, modality_of
from data_contracts.recognition import Recognition
from data_contracts.refs import InputName, ProblemName, RawRef, Target
from data_contracts.tables import CONTRACT_VERSION, raw_schema
from tasks import progress
from tasks.config import RunConfig
from tasks.errors import DataError, UsageError
from tasks.ingest.manifest.carried_columns import CarriedColumns
from tasks.ingest.manifest.corrections import apply_corrections
from tasks.ingest.manifest.file_states import FileStates
from tasks.ingest.manifest.ids import fill_ids
from tasks.ingest.manifest.joined_columns import decide_types
from tasks.ingest.manifest.label_columns import LabelCells
from tasks.ingest.manifest.locate_rows import locate_all
from tasks.ingest.manifest.missing_media import Search
from tasks.ingest.manifest.notes import describe_absent, describe_source, note_likely_problem
from tasks.ingest.manifest.raw_rows import RawRows
from tasks.ingest.manifest.recognition import recognise
from tasks.ingest.manifest.rows import Purpose, Row
from tasks.ingest.manifest.scan_record import ScanRecord
from tasks.ingest.manifest.slice_columns import require_slice_columns
from tasks.ingest.manifest.source import Source, open_sources, require_label
from tasks.labels import label_columns
from tasks.problems.registry import get_problem
from tasks.redaction import redact, redact_json
from tasks.store import Store, digest_json


def scan(
    config: RunConfig, store: Store, data: Path, purpose: Purpose = "train", carried: CarriedColumns | None = None
) -> RawRef:
    """The manifest at `data` as a table in the store: named, typed, digested; nothing is decoded.

    `carried` keeps cells of the rows that are read, as they are. Raises UsageError (a path or a mapped column that is not
    there) and DataError (no label, no rows, no media).
    """
    if carried is not None:
        return _scan(config, store, data, purpose, carried, FileStates())
    record = ScanRecord(config, store, data, purpose)
    raw = record.unchanged()
    if raw is None:
        states = record.states()
        raw = _scan(config, store, data, purpose, None, states)
        record.keep(states, raw)
    else:
        progress.report("scan", raw.rows, raw.rows)
    return raw


def _scan(
    config: RunConfig, store: Store, data: Path, purpose: Purpose, carried: CarriedColumns | None, states: FileStates
) -> RawRef:
    sources = _open(config, data, purpose, states)
    if carried is not None:
        sources = carried.bind(sources)
    picked, total, notes = _pick(sources, config)
    picked = picked if carried is None else carried.follow(picked)
    read = in_order({*sources[0].columns.media, *sources[0].columns.joined, *sources[0].borrowed})
    schema = raw_schema(read)
    search, labels, identities = Search(), LabelCells(_label_columns(sources, purpose)), Counter[str]()
    located = (fill_ids(labels.note(search.note(rows)), identities) for rows in locate_all(picked, total, purpose))
    with store.scratch_dir() as folder:
        table = RawRows(folder / "rows.parquet", schema, located)
        if not table.num_rows:
            raise DataError(f"manifest {data}: it holds no rows")
        notes += search.resolve(table, os.path.realpath(sources[0].manifest.root))
        notes += labels.apply(table, config.data, purpose, strict=config.split.strict)
        modalities = tuple(m for m in read if table.counts[f"{m}_sha256"])
        modalities = modalities or read  # no usable cell at all: ingest lists every row
        corrections = None
        if config.data.corrections is not None and purpose == "train":
            is_part = config.data.max_rows is not None
            corrections, said = apply_corrections(table, config.data.corrections, modalities, is_part)
            notes += said
        notes += [
            *describe_absent(sources[0], config),
            *describe_source(sources, modalities, table, config.slices),
            *note_likely_problem(table, config),
        ]
        columns_read = (
            sources[0].columns.joined if purpose == "train" else {}
        )  # for a prediction, the model knows their types
        types, doubts = decide_types(columns_read, table, config.data)
        notes += doubts
        _require_several(config, modalities, data, purpose)
        filled = [m for m in read if m in modalities or table.counts[m]]  # an empty one says nothing
        names = raw_schema(filled).names
        raw = _keep(table, names, data, modalities, tuple(map(redact, notes)), purpose, store)
        recognised = recognise(sources, table, data, search, labels, types, config)
        recognition = Recognition.model_validate(redact_json(recognised.model_dump()))
    named = {**sources[0].columns.media, **{name: ", ".join(of) for name, of in sources[0].columns.joined.items()}}
    columns = {name: column for name, column in named.items() if name in modalities}
    known = {
        "targets": _targets(sources[0]),
        "columns": columns,
        "column_types": types,
        "recognition": recognition,
        "corrections": corrections,
    }
    return raw.model_copy(update=known)


def _open(config: RunConfig, data: Path, purpose: Purpose, states: FileStates) -> list[Source]:
    """The sources at `data`, whose columns are those that are asked for. Raises as `scan`."""
    sources = open_sources(data, config, purpose, states)
    _require_equal_media(sources, data)
    if purpose == "train":
        columns_there = [name for source in sources for name in source.manifest.columns]
        of_classes = get_problem(label_columns(config.data)[0].problem).has_classes
        classes = sources[0].columns.label if of_classes else None
        require_slice_columns(config.slices, tuple(dict.fromkeys(columns_there)), str(data), classes)
    if all(source.columns.label is None for source in sources):
        require_label(sources[0].manifest, sources[0].columns, purpose)
    return sources


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
    table: RawRows,
    names: list[str],
    data: Path,
    modalities: tuple[InputName, ...],
    notes: tuple[str, ...],
    purpose: Purpose,
    store: Store,
) -> RawRef:
    """Stores these columns; their digest covers content, not places: a moved folder is the same data."""
    places = ["table", *modalities, "detail"]
    content = digest_json({"rows": table.digest([name for name in names if name not in places]), "purpose": purpose})
    found = {"content": content, "places": table.digest(places), "source": str(data)}
    key = digest_json({**found, "contract": CONTRACT_VERSION})
    if store.find("raw", key) is None:
        with store.create("raw", key) as draft:
            table.write(draft.path / "rows.parquet", names)
    return RawRef(
        uri=f"raw/{key}", sha256=content, rows=table.num_rows, source=str(data), modalities=modalities, notes=notes
    )


def _targets(source: Source) -> tuple[Target, ...]:
    """The label columns, whose labels ingest will tell."""
    names = source.columns.labels or ("label",)
    return tuple(Target(name=name, problem=problem) for name, problem in zip(names, source.problems, strict=True))


def _label_columns(sources: list[Source], purpose: Purpose) -> tuple[tuple[str, ProblemName], ...]:
    """Name and problem of every label column that is read: of a prediction only the first, which it is scored by."""
    names = max((source.columns.labels for source in sources), key=len)
    columns = tuple(zip(names, sources[0].problems, strict=False))
    return columns[:1] if purpose == "predict" else columns


def _require_equal_media(sources: list[Source], data: Path) -> None:
    for source in sources:
        first = sources[0].columns
        if (source.columns.media, source.columns.joined) != (first.media, first.joined):
            raise DataError(f"data {data}: {source.manifest.path.name} has other media columns than its neighbours")


def _pick(sources: list[Source], config: RunConfig) -> tuple[Iterable[tuple[Source, Row]], int, list[str]]:
    """Every row, or `data.max_rows` of them: the smallest by a hash of their identity, split by split in proportion.

    With their number, and a note. Only under `data.max_rows` are all of them held in memory.
    """
    streamed = ((source, row) for source in sources for row in source.manifest.rows)
    most, counted = config.data.max_rows, sum(source.manifest.count for source in sources)
    if most is None or most >= counted:
        return streamed, counted, []
    rows = list(streamed)
    by_split: dict[str, list[int]] = {}
    for index, (source, row) in enumerate(rows):
        by_split.setdefault(str(source.split or row.values.get(source.columns.split or "")), []).append(index)
    shares = {split: most * len(indices) / len(rows) for split, indices in by_split.items()}
    counts = {split: max(1, int(share)) for split, share in shares.items()}
    for split in sorted(shares, key=lambda name: counts[name] - shares[name])[: max(0, most - sum(counts.values()))]:
        counts[split] += 1
    chosen: list[int] = []
    for split, indices in by_split.items():
        chosen += sorted(indices, key=lambda index: _stable(rows[index]))[: counts[split]]
    note = f"data.max_rows: {len(chosen)} of {len(rows)} rows are used"
    return [rows[index] for index in sorted(chosen)], len(chosen), [note]


def _stable(item: tuple[Source, Row]) -> str:
    source, row = item
    own_id = row.values.get(source.columns.id or "")
    joined = [column for columns in source.columns.joined.values() for column in columns]
    media = [row.values.get(column) for column in (*source.columns.media.values(), *joined)]
    identity = str(own_id) if own_id not in (None, "") else str(media)
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
