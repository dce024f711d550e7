"""Ingest and validation as a Prefect flow: what a button in the UI starts, and what `crossmodal check` does in a terminal."""

from __future__ import annotations

from collections import Counter

import pyarrow.parquet as pq
from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import JsonValue

from data_contracts.refs import COUNTED_APART
from data_contracts.run_summary import RunSummary
from flows.artifacts import leave_table
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prepare import check_manifest
from flows.refusals import ends_refused
from flows.request import Request
from flows.run_failed import RunFailed
from flows.run_name import name_run
from flows.run_progress import shown_in_prefect
from tasks.escaping import markdown_text
from tasks.redaction import redact, redact_json
from tasks.reporting.run_tables import rows_table


@flow(name="check", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def check(
    profile: str = "",
    data: str = "",
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Reads, cleans and validates data, without training: what would be used, what is refused and why.

    Args:
        profile: Whose data and settings.
        data: Other data than the profile's: the full path of a manifest or a folder, or its address. Empty: the profile's.
        overrides: Other settings on top of the profile, each KEY=VALUE, for example data.columns.label=kind.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    request = request_of_run(profile, data, overrides, store)
    try:
        with shown_in_prefect():
            summary, notes = check_manifest(request)
    except RunFailed as failure:
        _leave_tables(request, failure.summary)
        raise
    _leave_tables(request, summary)
    lines = [
        f"{summary.finding}: {summary.reason}",
        *(note for note in notes if note not in str(summary.reason)),
    ]
    return Completed(message=redact("; ".join(lines)), data=summary.as_json() | {"notes": redact_json(notes)})


def _leave_tables(request: Request, summary: RunSummary) -> None:
    """The rows, the reasons why some were refused, and the splits, as the artifact `data`."""
    quarantine = request.folder / "quarantine.parquet"
    found = Counter(pq.read_table(quarantine)["reason"].to_pylist()) if quarantine.is_file() else Counter()
    reasons = {reason: rows for reason, rows in found.items() if reason not in COUNTED_APART}
    described = markdown_text(f"{request.name}: rows of {request.config.data.path}")
    leave_table("data", rows_table(summary, reasons), described)
