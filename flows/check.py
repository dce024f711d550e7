"""Ingest and validation as a Prefect flow: what a button in the UI starts, and what `crossmodal check` does in a terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow.parquet as pq
from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.artifacts import progress_artifacts
from flows.environment import store_from_environment, tracking_uri_from_environment
from flows.execute import RunFailed
from flows.prepare import check_manifest
from flows.request import Request, make_request, resolve_config
from flows.retrain import NO_OVERRIDES, Override, full_path
from flows.run_name import name_run
from tasks.names import markdown_text
from tasks.progress import listening


@flow(name="check", flow_run_name=name_run, persist_result=True, result_serializer="json")
def check(
    profile: str = "",
    data: str = "",
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, Any]]:
    """Reads, cleans and validates data, without training: what would be used, what is refused and why.

    Args:
        profile: Whose data and settings.
        data: Other data than the profile's: the full path of a manifest or a folder, or its address. Empty: the profile's.
        overrides: Other settings on top of the profile, each KEY=VALUE, for example data.columns.label=kind.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    place = store_from_environment(store or None)
    config = resolve_config(profile or None, full_path(data) or None, overrides, place)
    run_id = f"{flow_run.scheduled_start_time:%Y%m%d-%H%M%S}-{str(flow_run.id)[:8]}"
    request = make_request(config, place, tracking_uri_from_environment(), run_id)
    try:
        with listening(progress_artifacts()):
            summary, notes = check_manifest(request)
    except RunFailed as failure:
        _leave_tables(request, failure.summary)
        raise
    _leave_tables(request, summary)
    rows = summary["rows"]
    said = f"{rows['used']} of {rows['in']} rows can be used"
    return Completed(message="; ".join([said, *notes]), data=summary | {"notes": notes})


def _leave_tables(request: Request, summary: dict[str, Any]) -> None:
    """The rows and splits, and the reasons why rows were refused, as artifacts."""
    counts = summary["rows"] | summary["splits"]
    create_table_artifact([counts], key="data", description=markdown_text(f"Rows of {request.config.data.path}"))
    quarantine = request.folder / "quarantine.parquet"
    reasons = Counter(pq.read_table(quarantine)["reason"].to_pylist()) if quarantine.is_file() else Counter()
    if reasons:
        table = [{"reason": reason, "rows": rows} for reason, rows in reasons.most_common()]
        create_table_artifact(table, key="refused", description="Rows that were not used, by reason")
