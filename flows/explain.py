"""An explanation as a Prefect flow: what a button in the UI starts, and what `crossmodal explain` does in a terminal."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from flows.artifacts import leave_counts
from flows.explaining import explain_model, request_of_model
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import explain_stages, prefect_stages
from flows.refusals import ends_refused
from flows.run_name import name_run
from flows.run_progress import EXPLAIN_SHARES, shown_in_prefect
from tasks.redaction import redact


@flow(name="explain", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def explain(
    profile: str = "",
    data: str = "",
    model: str = "",
    rows: Annotated[int, Field(ge=1)] = 200,
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Shows what a model's answers rest on: inputs, their parts, the nearest training rows, swaps. Nothing is published.

    Args:
        profile: Whose rows are explained, and whose model. Empty, with a model named: the rows of the run that published it.
        data: Other rows than the profile's: the full path of a manifest or a folder, or its address. Empty: the profile's.
        model: NAME or NAME@ALIAS in the registry, or a folder. Empty: the profile's champion.
        rows: Rows whose Shapley values are in the figures.
        overrides: Other settings on top of the profile, each KEY=VALUE, for example explain.samples=20.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    overrides = [f"explain.rows={rows}", *overrides]
    if model and not profile and not data:
        request = request_of_model(model, overrides, request_of_run("", "", [], store))
    else:
        request = request_of_run(profile, data, overrides, store)
    with shown_in_prefect(EXPLAIN_SHARES):
        summary = explain_model(request, model, prefect_stages(), explain_stages())
    leave_counts("explain", (summary.model and summary.model.name) or request.name, request, summary)
    return Completed(message=redact(str(summary.reason)), data=summary.as_json())
