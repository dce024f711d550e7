"""The ingest stage: the raw table becomes samples.parquet and quarantine.parquet; their rows sum to what came in."""

from __future__ import annotations

import csv
import functools
import io
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.modalities import INPUTS, modality_of
from data_contracts.refs import COUNTED_APART, CleanRef, InputName, RawRef, RowCounts, Target
from data_contracts.row_examples import EXAMPLES, RowExamples, row_name
from data_contracts.tables import (
    CONTRACT_VERSION,
    metadata_schema,
    near_duplicates_schema,
    positions_schema,
    quarantine_schema,
    samples_schema,
    value_column,
)
from tasks.config import RunConfig
from tasks.contract import read_table
from tasks.errors import TooManyQuarantined
from tasks.escaping import spreadsheet_cell
from tasks.fingerprint import code_fingerprint
from tasks.ingest.clean import (
    apply_outcomes,
    count_repeats,
    count_straddling,
    mark_rare,
    mark_repeats,
    mark_sealed,
    mark_unseen,
    parse_times,
)
from tasks.ingest.decode import decode_media
from tasks.ingest.manifest.addresses import find_addresses
from tasks.ingest.manifest.corrections import DROPPED
from tasks.ingest.manifest.label_columns import UNLABELLED
from tasks.ingest.manifest.rows import Purpose
from tasks.ingest.near_duplicates.clusters import describe_near_duplicates, find_near_duplicates
from tasks.ingest.quarantine_examples import choose_rows, describe_examples
from tasks.ingest.sample_rows import Columns, Rows, SampleRow
from tasks.ingest.splits import assign_splits, describe_made_of_train, describe_shares
from tasks.ingest.table_digest import digest_table
from tasks.labels import describe_targets
from tasks.media.media_store import media_fingerprint
from tasks.media.pool import TRANSIENT
from tasks.modeling.training_rows import find_splits
from tasks.problems.registry import problem_of
from tasks.redaction import environment_secrets, redact, redact_cell, redact_json
from tasks.samples import SAMPLES, Samples
from tasks.store import Found, Store, canonical_json, digest_json, write_text

POSITIONS = "positions.parquet"
"""Beside the samples of a prediction: where each stands in the manifest."""


def ingest_key(raw: RawRef, config: RunConfig, purpose: Purpose = "train") -> str:
    """Digest of all that the stage's result depends on; the limits, too, as raising one is how a refused file gets in."""
    media = {modality: media_fingerprint(modality_of(modality), config.media) for modality in raw.modalities}
    limits = {"timeout_s": config.media.timeout_s, "memory_mb": config.media.memory_mb}
    split = config.split.model_dump(
        mode="json", include={"by", "val", "test", "near_duplicates", "strict", "sealed", "refresh"}
    )
    data = config.data.model_dump(mode="json", include={"min_class_rows", "time_format"})
    before = {} if raw.earlier is None else {"earlier": raw.earlier.sha256}
    before |= {} if raw.corrections is None else {"corrections": raw.corrections.sha256}
    settings = {"split": split, "limits": limits, "purpose": purpose, "data": data, **before}
    code = code_fingerprint("ingest")
    targets = [target.model_dump(mode="json") for target in raw.targets]
    content = {"raw": raw.sha256, "places": raw.uri, "targets": targets}  # the listing of refused rows names places
    return digest_json({**content, "media": media, "settings": settings, "code": code, "contract": CONTRACT_VERSION})


def ingest(raw: RawRef, config: RunConfig, store: Store, purpose: Purpose = "train") -> CleanRef:
    """The cleaned samples of a manifest; `predict` keeps every decodable row, labelled or not, repeated or not.

    Raises TooManyQuarantined (for `predict` only when no row is left); the quarantine table is stored all the same, at the
    path that the message names.
    """
    key = ingest_key(raw, config, purpose)
    found = store.find("clean", key)
    if found is None:
        found = _keep(_clean_rows(raw, config, store, purpose), raw, config, store, key)
    clean = CleanRef.model_validate(found.ref)
    # of this manifest, not of an equal one
    own_fields: dict[str, object] = {
        "notes": (*raw.notes, *clean.notes),
        "columns": raw.columns,
        "column_types": raw.column_types,
    }
    own_fields |= {"corrections": raw.corrections}
    clean = clean.model_copy(update=own_fields)
    _refuse_too_many(clean, config.data.max_quarantined if purpose == "train" else 1.0, store)
    return clean


@dataclass(frozen=True)
class _CleanedRows:
    columns: Columns
    """Of every row, with its canonical digests, its split, and its reason if it cannot be used."""
    rows: Rows
    notes: list[str]
    examples: RowExamples
    purpose: Purpose


def _clean_rows(raw: RawRef, config: RunConfig, store: Store, purpose: Purpose) -> _CleanedRows:
    path = store.path(raw.uri) / "rows.parquet"
    in_cells = {value_column(name) for name in INPUTS}  # what they hold is decoded from the file
    workers = config.runtime.workers or os.cpu_count() or 1
    refused = read_table(path, ["reason", *(f"{name}_sha256" for name in raw.modalities)])
    also = choose_rows(refused, raw.modalities)
    del refused
    addresses = functools.partial(find_addresses, Path(raw.source), config, purpose)
    outcomes = decode_media(path, raw.modalities, config, store, workers, also, addresses)
    columns = Columns.read(path, [name for name in pq.read_schema(path).names if name not in in_cells])
    apply_outcomes(columns, raw.modalities, outcomes)
    rows = Rows(columns)
    said: list[str] = []
    targets = raw.targets or (Target(name="label"),)
    has_classes = purpose == "train" and problem_of(targets[0]).has_classes
    if purpose == "train":
        said = parse_times(rows, config.split.by == "time", config.data.time_format)
        mark_repeats(rows, columns, raw.modalities)
        if has_classes:
            mark_rare(rows, config.data.min_class_rows)
    usable = rows.usable()
    notes = [
        *said,
        *_warnings(usable, raw.modalities),
        *(count_straddling(rows) if purpose == "train" else []),
    ]
    clusters: list[int | None] = [None] * len(usable)
    if purpose == "train" and config.split.near_duplicates:
        clusters = find_near_duplicates(usable, columns, raw.modalities, config.media, store)
        notes += [*count_repeats(usable, columns, raw.modalities), *describe_near_duplicates(clusters)]
    given, times = (usable.cells(name) for name in ("split", "time"))
    groups, ids = (usable.streamed(name) for name in ("group", "id"))
    only_train = purpose == "train" and set(given) == {"train"} and UNLABELLED in rows.cells("reason")
    if only_train:  # val or test was given, and set aside
        given = [None] * len(given)
        notes.append("train is the only split with labels and is divided")
    before = None if raw.earlier is None else find_splits(ids, groups, store.path(raw.earlier.uri))
    stratified = config.split.by == "stratified-group" and purpose == "train"
    labels = [problem_of(targets[0]).labels_of(label) for label in usable.cells("label")] if stratified else None
    splits = assign_splits(given, groups, ids, config.split, times, clusters, labels, before)
    usable.put("split", splits)
    usable.put("cluster", clusters)
    if purpose == "train":
        notes += describe_made_of_train(given)
        notes += describe_shares(splits, given, groups, config.split)
        notes += mark_sealed(usable, config.split)
    if has_classes and not config.split.strict:
        notes += mark_unseen(usable)
    return _CleanedRows(columns, rows, notes, describe_examples(rows, raw.modalities), purpose)


def _warnings(rows: Rows, modalities: tuple[InputName, ...]) -> list[str]:
    """What was odd about media that are used all the same: `audio: 3 samples, silent`."""
    counts: Counter[tuple[str, str]] = Counter()
    for modality in modalities:
        warnings = rows.array(f"{modality}_warning").drop_null()
        counts.update((modality, warning) for warning in warnings.to_pylist() if warning)
    return [f"{modality}: {count} samples, {warning}" for (modality, warning), count in counts.most_common(10)]


def _keep(cleaned: _CleanedRows, raw: RawRef, config: RunConfig, store: Store, key: str) -> Found:
    """Writes the artifact: samples in id order, so that the order of the manifest's lines changes nothing."""
    rows = cleaned.rows
    usable, refused = rows.usable(), rows.refused()
    usable = usable.take(np.asarray(pc.array_sort_indices(usable.array("id"))))
    samples = _samples(usable, raw.modalities)
    secrets = environment_secrets()
    quarantine = pa.Table.from_pylist([_refusal(row, secrets) for row in refused], schema=quarantine_schema())
    columns = [(target.name, target.problem) for target in raw.targets or (Target(name="label"),)]
    cells = [Samples(samples).targets(place, name) for place, (name, _) in enumerate(columns)]
    targets = describe_targets(columns, cells)
    near_duplicates = pa.Table.from_pylist(
        [{name: row[name] for name in ("id", "cluster")} for row in usable.filled("cluster")],
        schema=near_duplicates_schema(),
    )
    own = {name: usable.array(name) for name in ("id", "metadata")}
    apart = Counter(reason for reason in refused.cells("reason") if reason in COUNTED_APART)
    counts = RowCounts(
        rows_in=len(rows),
        used=len(usable),
        quarantined=len(refused) - apart.total(),
        duplicates=apart["duplicate"],
        unlabelled=apart["unlabelled"],
        sealed=apart["sealed"],
    )
    # What a busy machine or a file in motion cost is not for ever: such a result is stored, but not found again.
    passing = [[row["id"], row["reason"]] for row in refused if row["reason"].startswith(TRANSIENT)]
    name = digest_json([key, passing]) if passing else key
    with store.create("clean", name, code=code_fingerprint("ingest")) as draft:
        pq.write_table(samples, draft.path / SAMPLES, compression="zstd")
        pq.write_table(quarantine, draft.path / "quarantine.parquet", compression="zstd")
        pq.write_table(near_duplicates, draft.path / "near_duplicates.parquet", compression="zstd")
        pq.write_table(pa.table(own, schema=metadata_schema()), draft.path / "metadata.parquet", compression="zstd")
        (draft.path / "quarantine.csv").write_text(quarantine_csv(quarantine), encoding="utf-8")
        write_text(draft.path / EXAMPLES, canonical_json(redact_json(cleaned.examples)))
        if cleaned.purpose == "predict":
            positions = pa.table({"position": usable.places}, schema=positions_schema())
            pq.write_table(positions, draft.path / POSITIONS, compression="zstd")
        draft.ref = CleanRef(
            uri=f"clean/{name}",
            sha256=digest_json([_content_digest(samples, quarantine, near_duplicates, counts), *map(str, targets)]),
            rows=len(usable),
            parents=(raw.sha256,),
            counts=counts,
            splits=Samples(samples).count_splits(),
            labels=targets[0].labels,
            targets=targets,
            modalities=raw.modalities,
            media={modality: media_fingerprint(modality_of(modality), config.media) for modality in raw.modalities},
            notes=tuple(map(redact, cleaned.notes)),
        ).model_dump(mode="json")
    found = store.find("clean", name)
    assert found is not None
    return found


def _content_digest(samples: pa.Table, quarantine: pa.Table, near_duplicates: pa.Table, counts: RowCounts) -> str:
    """Covers what the rows say, not where they stand: a moved folder or a shuffled manifest is the same data."""
    refused = sorted(map(str, quarantine.select(["id", "modality", "reason"]).to_pylist()))
    return digest_json(
        {
            "samples": digest_table(samples.drop_columns(["row", "table"])),
            "refused": refused,
            "near_duplicates": digest_table(near_duplicates),
            "counts": counts.model_dump(),
        }
    )


def _samples(rows: Rows, modalities: tuple[InputName, ...]) -> pa.Table:
    """The rows as samples, in their order."""
    schema = samples_schema(modalities)
    given = {name: rows.array(name) for name in ("id", "targets", "group", "row", "table", "label", "weight")}
    found = {
        **given,
        "label": pc.fill_null(given["label"], ""),
        "weight": pc.fill_null(given["weight"], 1.0),
        "split": pa.array(rows.cells("split"), pa.string()),
        **{modality: rows.array(f"{modality}_digest") for modality in modalities},
    }
    nothing = pa.nulls(len(rows), pa.string())
    return pa.table([found.get(name, nothing) for name in schema.names], schema=schema)


def _refusal(row: SampleRow, secrets: Collection[str]) -> dict[str, object]:
    modality = row["bad_modality"]
    refusal = {name: row[name] for name in ("id", "reason", "detail", "row", "table")}
    if refusal["id"] is not None:
        refusal["id"] = redact_cell(str(refusal["id"]), secrets)  # by which rows are joined
    if refusal["detail"] is not None:
        refusal["detail"] = redact(str(refusal["detail"]), secrets)
    return refusal | {"modality": modality, "path": row.get(modality) if modality else None}


def quarantine_csv(table: pa.Table) -> str:
    """The quarantine table as CSV, inert in a spreadsheet: a cell that would be run as a formula gets a quote before it."""
    names = ("id", "modality", "path", "reason", "detail", "row", "table")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in table.select(names).to_pylist():
        cells = ["" if row[name] is None else str(row[name]) for name in names]
        writer.writerow([spreadsheet_cell(cell) for cell in cells])
    return out.getvalue()


def _refuse_too_many(clean: CleanRef, limit: float, store: Store) -> None:
    counts = clean.counts
    if counts.quarantined <= limit * counts.rows_in and counts.used:
        return
    place = store.path(clean.uri)
    table = read_table(place / "quarantine.parquet", ["reason", "detail", "row", "table"])
    refused = [row for row in table.to_pylist() if row["reason"] not in COUNTED_APART]
    reasons = Counter(row["reason"] for row in refused)
    # unseen labels are reported, and no fault of the rows; what a person dropped is as was asked for
    share = (counts.quarantined - reasons["unseen-label"] - reasons[DROPPED]) / counts.rows_in
    if share <= limit and counts.used:
        return
    reasons_text = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
    first = next(row for row in refused if row["reason"] == reasons.most_common(1)[0][0]) if refused else None
    example = f"; {row_name(first['row'], first['table'])}: {first['detail']}" if first else ""
    if counts.used == 0:
        message = (
            f"none of {counts.rows_in} rows can be used ({reasons_text}){example}; "
            f"see {place / 'quarantine.csv'} and correct the data"
        )
    else:
        message = (
            f"{counts.quarantined} of {counts.rows_in} rows quarantined ({share:.1%}; {reasons_text}), more than "
            f"data.max_quarantined = {limit:g}{example}; see {place / 'quarantine.csv'}, correct the data, or raise the limit"
        )
    raise TooManyQuarantined(message, clean)
