"""What a translation leaves: the finding in words, the table of rows, and the files of the run's folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.run_summary import Finding, RunSummary
from data_contracts.translation import REPORT, TranslationReport
from flows.request import Request
from flows.run_state import RunState
from flows.summary import notes_of, summarise, write_summary
from tasks.errors import UsageError
from tasks.escaping import spreadsheet_cell
from tasks.problems.registry import figure_text, get_metric
from tasks.redaction import environment_secrets, redact, redact_cell, redact_json
from tasks.reporting.translate_report import Heading, write_translate_page
from tasks.store import replace_file

ROWS = "rows.csv"
OUT_FORMATS = (".csv", ".parquet")


def require_out(out: Path | None) -> None:
    """UsageError where the table cannot be written there."""
    if out is None:
        return
    if out.suffix not in OUT_FORMATS:
        raise UsageError(f"--out {str(out)!r}: its name must end in {' or '.join(OUT_FORMATS)}")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {str(out)!r}: there is no folder {str(out.absolute().parent)!r}")


def describe(report: TranslationReport) -> tuple[Finding, str]:
    """Whether the generated input helps, and the same as one line."""
    first, metric = report.pairings[0] if report.pairings else None, report.metric
    found = first.differences.get(metric) if first else None
    counts = f"{report.target} generated for {sum(report.generated.values()):,} of {report.rows:,} rows"
    if first is None or found is None:
        return "no difference shown", f"{counts}; the models share no test row that both answered"
    lower_is_better = get_metric(metric).lower_is_better
    low, high = (-found[2], -found[1]) if lower_is_better else found[1:]
    finding: Finding = "helps" if low > 0 else "hurts" if high < 0 else "no difference shown"
    ours, theirs = (arm.metrics.get(metric) for arm in report.arms[:2])
    texts = ["–" if each is None else figure_text(each, metric) for each in (ours, theirs)]
    gain, lowest, highest = (figure_text(each, metric, sign=True) for each in found)
    return finding, (
        f"{finding}: {metric} {texts[0]} of {first.ours}, {texts[1]} of {first.theirs} on {first.rows:,} test rows: {gain} "
        f"[{lowest}, {highest}]; {counts}"
    )


def table_with_answers(rows: pa.Table, answers: Mapping[str, Mapping[str, str]]) -> pa.Table:
    """The table of rows with a column for each model's answers, null but on test rows."""
    ids = rows["id"].to_pylist()
    for name, found in answers.items():
        rows = rows.append_column(f"answer: {name}", pa.array([found.get(each) for each in ids], pa.string()))
    return rows


def rows_csv(rows: pa.Table) -> str:
    """The table as CSV, inert in a spreadsheet, without a credential."""
    out, secrets = io.StringIO(), environment_secrets()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows.column_names)
    for row in rows.to_pylist():
        writer.writerow([_cell(name, value, secrets) for name, value in row.items()])
    return out.getvalue()


def _cell(name: str, value: object, secrets: Collection[str]) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = redact_cell(str(value), secrets) if name == "id" else redact(str(value), secrets)
    return spreadsheet_cell(text)


def leave_results(
    request: Request, run_state: RunState, report: TranslationReport, rows: pa.Table, out: Path | None
) -> RunSummary:
    """report.html, translation.json, rows.csv and the summary lie in the run's folder, and at `out` the table of rows."""
    finding, reason = describe(report)
    text = json.dumps(redact_json(report.model_dump(mode="json")), indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(request.folder / REPORT, text.encode())
    table = rows_csv(rows)
    replace_file(request.folder / ROWS, table.encode())
    if out is not None:
        replace_file(out.absolute(), table.encode() if out.suffix == ".csv" else _parquet(rows))
    assert run_state.valid is not None
    notes = tuple(dict.fromkeys((*notes_of(run_state), *report.notes)))  # several models say the same of what they read
    path = request.folder / "report.html"
    heading = Heading(request.name, request.run_id, finding, reason, notes)
    write_translate_page(path, report, heading, run_state.valid, request.store)
    counts = {"generated": report.computed, "reused": report.reused, "nothing": report.nothing}
    summary = summarise(
        request,
        run_state,
        "translate",
        report=path.relative_to(request.store.root).as_posix(),
        finding=finding,
        reason=reason,
        found=counts,
    )
    if out is not None:
        summary = summary.model_copy(update={"out": redact(str(out))})
    write_summary(request, run_state, summary)
    return summary


def _parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()
