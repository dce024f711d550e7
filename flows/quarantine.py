"""The refused rows of a run, one by one: all that is known of a row, with what its media look like."""

from __future__ import annotations

from pathlib import Path

from data_contracts.modalities import modality_of
from data_contracts.row_examples import QuarantinedRow, row_name
from data_contracts.run_record import RunRecord
from data_contracts.run_refs import RunRefs
from flows.as_read import cell_text, medium_bytes, rows_as_read
from flows.history import RUNS, run_config, run_refs
from tasks.contract import read_table
from tasks.errors import CrossmodalError, UsageError
from tasks.ingest.manifest.raw_rows import RawRow
from tasks.ingest.manifest.rows import Cells
from tasks.media.media_store import media_index
from tasks.reporting.row_page import RefusedMedium, RefusedRow, write_refused
from tasks.store import Store, digest_json

PICTURE_BYTES = 4 << 20


def refused_rows(store: Store, record: RunRecord) -> list[QuarantinedRow]:
    """row, id, modality, reason, detail and path of every row that a run did not use, duplicates among them."""
    path = store.root / RUNS / record.run / "quarantine.parquet"
    if not path.is_file():
        raise UsageError(f"run {record.run}: has no quarantine; it ended before its data were read ({record.reason})")
    names = ["table", "row", "id", "modality", "reason", "detail", "path"]
    table = read_table(path).select(names).sort_by([("table", "ascending"), ("row", "ascending")])
    rows: list[QuarantinedRow] = (
        table if table["table"].null_count < len(table) else table.drop_columns("table")
    ).to_pylist()
    return rows


def refused_row(store: Store, record: RunRecord, number: int, table: str | None = None) -> RefusedRow:
    """All that is known of one of them, by its number and, of several tables, its table.

    UsageError where the run has no refused row of that number, or several tables have one and none is named.
    """
    rows = refused_rows(store, record)
    tables = sorted({str(row["table"]) for row in rows if row.get("table")})
    if table is not None and table not in tables:
        known = f"rows were refused of {', '.join(tables)}" if tables else "the data are one table; leave --table out"
        raise UsageError(f"run {record.run}: --table {table!r}: {known}")
    found = [row for row in rows if row["row"] == number and table in (None, row.get("table"))]
    if not found:
        name = row_name(number, table)
        raise UsageError(f"run {record.run}: {name} was not refused; see crossmodal runs quarantine {record.run}")
    if len(found) > 1:
        several = ", ".join(str(row["table"]) for row in found)
        raise UsageError(f"run {record.run}: row {number} was refused of {several}; choose one with --table")
    of_table = found[0].get("table")
    refs = run_refs(store, record.run)
    if refs.raw is None:
        return RefusedRow(run=record.run, row=number, facts=found[0])
    read = read_table(store.path(refs.raw.uri) / "rows.parquet", filters=[("row", "==", number)]).to_pylist()
    raw: RawRow = next((row for row in read if row["table"] == of_table), {})
    return RefusedRow(
        run=record.run,
        row=number,
        facts=found[0],
        cells=_cells(store, record, refs, number, of_table),
        read={name: value for name, value in raw.items() if value is not None and not name.endswith("_value")},
        media=_media(store, record, refs, raw),
    )


def leave_page(store: Store, row: RefusedRow) -> Path:
    """Where the page of a refused row lies."""
    of = row.facts.get("table")
    prefix = "" if of is None else digest_json(of)[:8] + "-"  # a path within the data, which may have any form
    path = store.root / RUNS / row.run / "quarantine" / f"{prefix}row-{row.row}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_refused(path, row)
    return path


def _cells(store: Store, record: RunRecord, refs: RunRefs, number: int, table: str | None) -> Cells:
    """The row's cells as the manifest holds them now; why not, where they cannot be read again."""
    assert refs.raw is not None
    try:
        for read in rows_as_read(refs.raw, run_config(store, record.run), store):
            if (read.raw["table"], read.row.number) == (table, number):
                return {name: cell_text(value) for name, value in read.row.values.items()}
    except CrossmodalError as error:
        return {"(manifest)": str(error)}
    return {}


def _media(store: Store, record: RunRecord, refs: RunRefs, raw: RawRow) -> list[RefusedMedium]:
    """What the row's media look like: decoded where the store has them so, else the source itself where it is a picture."""
    from tasks.reporting.thumbnails import picture_media, source_picture

    assert refs.raw is not None
    config = run_config(store, record.run)
    shown: list[RefusedMedium] = []
    for modality in refs.raw.modalities:
        source = raw.get(f"{modality}_sha256")
        if source is None:
            continue
        fingerprint = refs.clean.media[modality] if refs.clean and modality in refs.clean.media else None
        digest = None
        if fingerprint is not None:
            known = media_index(store, modality_of(modality), fingerprint, ("source", "digest")).to_pylist()
            digest = next((row["digest"] for row in known if row["source"] == source), None)
        if digest is not None and fingerprint is not None:
            seen = picture_media([{modality: digest}], {modality: fingerprint}, store)[0]
            shown.append(RefusedMedium(name=modality, how="as it was decoded", seen=seen))
            continue
        content = medium_bytes(raw.get(modality), config, PICTURE_BYTES)
        picture = None if content is None else source_picture(content)
        if picture is not None:
            shown.append(RefusedMedium(name=modality, how="the file itself, as a browser shows it", source=picture))
        elif content is not None:
            shown.append(
                RefusedMedium(name=modality, how=f"{len(content)} bytes that begin with {content[:24].hex(' ')}")
            )
    return shown
