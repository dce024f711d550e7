"""The audit as a Prefect flow: what a button in the UI starts, and what `crossmodal audit` does in a terminal."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from flows.artifacts import leave_counts
from flows.auditing import audit_manifest
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import audit_stages, prefect_stages
from flows.refusals import ends_refused
from flows.run_name import name_run
from flows.run_progress import AUDIT_SHARES, shown_in_prefect
from tasks.redaction import redact


@flow(name="audit", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def audit(
    profile: str = "",
    data: str = "",
    rows: Annotated[int, Field(ge=1)] = 50,
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Looks for wrong labels, contradictions, outliers and spurious correlations. Findings are a result, not an error.

    Args:
        profile: Whose data and settings.
        data: Other data than the profile's: the full path of a manifest or a folder, or its address. Empty: the profile's.
        rows: How many rows the report lists to be looked at.
        overrides: Other settings on top of the profile, each KEY=VALUE, for example audit.folds=10.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    request = request_of_run(profile, data, [f"audit.max_listed={rows}", *overrides], store)
    with shown_in_prefect(AUDIT_SHARES):
        summary = audit_manifest(request, prefect_stages(), audit_stages())
    leave_counts("audit", request.name, request, summary)
    return Completed(message=redact(f"{summary.finding}: {summary.reason}"), data=summary.as_json())
