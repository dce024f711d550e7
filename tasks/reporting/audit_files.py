"""What an audit leaves in its run's folder: report.html, audit.json, rows.csv, and corrections.csv to be looked through."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path

from data_contracts.audit import REPORT, AuditReport, RowFinding
from data_contracts.refs import AuditRef, InputName, ValidatedRef
from tasks.escaping import spreadsheet_cell
from tasks.number_format import p_text
from tasks.pages import page_template
from tasks.redaction import environment_secrets, redact, redact_cell, redact_json
from tasks.reporting.thumbnails import Thumbnails, media_players, picture_media
from tasks.samples import Samples
from tasks.store import Store, replace_file

ROWS, CORRECTIONS = "rows.csv", "corrections.csv"
GROUPS_SHOWN = CONFLICTS_SHOWN = 20


def write_audit(
    folder: Path,
    report: AuditReport,
    ref: AuditRef,
    valid: ValidatedRef,
    notes: Sequence[str],
    name: str,
    run: str,
    store: Store,
) -> None:
    """The files lie in the folder, each written in one step. `name` is the model's, `notes` are for people."""
    secrets = environment_secrets()
    text = json.dumps(redact_json(report.model_dump(mode="json")), indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(folder / REPORT, text.encode())
    replace_file(folder / ROWS, rows_csv(report, secrets).encode())
    replace_file(folder / CORRECTIONS, corrections_csv(report, secrets).encode())
    shown = AuditReport.model_validate(redact_json(report.model_dump(mode="json")))
    replace_file(folder / "report.html", _page(shown, report, ref, valid, notes, name, run, store).encode())


def rows_csv(report: AuditReport, secrets: Collection[str]) -> str:
    """Every row of which something is odd, those to look at first first."""
    inputs = sorted({name for row in report.findings for name in row.views})
    head = ["id", "row", "table", "split", "group", "label", "suggested", "kinds", "why", "listed", "margin"]
    head += ["probability_of_label", "probability_of_likeliest", "outlyingness"]
    head += [f"{name}_{what}" for name in inputs for what in ("says", "probability")]
    listed = set(report.listed)
    lines = []
    for row in report.findings:
        line: list[object] = [redact_cell(row.id, secrets), row.row, row.table, row.split, row.group, row.label]
        line += [row.suggested, ", ".join(row.kinds), redact(row.why, secrets), "yes" if row.id in listed else "no"]
        line += [*map(_rounded, (row.margin, row.fused.given, row.fused.probability, row.outlyingness))]
        for name in inputs:
            opinion = row.views.get(name)
            line += [None, None] if opinion is None else [opinion.label, _rounded(opinion.probability)]
        lines.append(line)
    return _csv(head, lines)


def corrections_csv(report: AuditReport, secrets: Collection[str]) -> str:
    """The likely label errors with their suggestions, in the form that data.corrections takes."""
    lines = [
        [redact_cell(row.id, secrets), row.label, row.suggested, redact(row.why, secrets)]
        for row in report.findings
        if row.suggested is not None
    ]
    return _csv(["id", "label", "new_label", "why"], lines)


def _csv(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Inert in a spreadsheet: a cell that would be run as a formula gets a quote before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    # Of numbers, too: a margin may begin with a minus, which is no formula.
    writer.writerows([[_cell(value) for value in line] for line in lines])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return spreadsheet_cell(value) if isinstance(value, str) else str(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _page(
    shown: AuditReport,
    report: AuditReport,
    ref: AuditRef,
    valid: ValidatedRef,
    notes: Sequence[str],
    name: str,
    run: str,
    store: Store,
) -> str:
    listed = set(report.listed)
    places = [place for place, row in enumerate(report.findings) if row.id in listed]
    seen, heard = _media([report.findings[place] for place in places], valid, store)
    template = page_template(
        Path(__file__).with_name("audit.html.j2"), p=p_text, percent="{:.0%}".format, share="{:.1%}".format
    )
    worst = max((each.noise for each in report.by_class), default=0.0)
    return template.render(
        report=shown,
        counts=ref.counts,
        reason=redact(ref.reason),
        notes=[redact(note) for note in notes],
        cards=list(zip([shown.findings[place] for place in places], seen, heard, strict=True)),
        classes=sorted(shown.by_class, key=lambda each: (-each.noise, each.label)),
        widths={each.label: round(100 * each.noise / worst, 1) if worst else 0.0 for each in shown.by_class},
        found=[each for each in shown.shortcuts if each.found],
        others=[each for each in shown.shortcuts if not each.found],
        groups=shown.groups[:GROUPS_SHOWN],
        conflicts=shown.conflicts[:CONFLICTS_SHOWN],
        name=name,
        run=run,
        tone="open" if any(ref.counts.values()) else "good",
    )


def _media(
    rows: Sequence[RowFinding], valid: ValidatedRef, store: Store
) -> tuple[list[Thumbnails], list[dict[InputName, str]]]:
    """What the rows look and sound like."""
    samples = Samples.read(store.path(valid.uri))
    place = {each: number for number, each in enumerate(samples.ids)}
    chosen = samples.take([place[row.id] for row in rows])
    media: dict[InputName, str] = valid.clean.media
    columns = {name: chosen.digests(name) for name in media}
    digests = [
        {name: digest for name, cells in columns.items() if (digest := cells[number]) is not None}
        for number in range(len(rows))
    ]
    return picture_media(digests, media, store), media_players(digests, media, store)
