"""Compression as a Prefect flow: each method is a task, and one that passes the gate can be published."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import JsonValue

from data_contracts.compression import MethodName
from data_contracts.run_summary import CompressSummary
from flows.artifacts import leave_table, report_link
from flows.compress_request import Asked, make_compression
from flows.compressing import compress_model
from flows.flow_request import NO_OVERRIDES, Override, full_path, request_of_run
from flows.prefect_stages import prefect_stages, run_in_task
from flows.refusals import ends_refused
from flows.run_name import name_run, rename_run
from flows.run_progress import COMPRESS_SHARES, shown_in_prefect
from tasks.escaping import markdown_text
from tasks.redaction import redact
from tasks.reporting.compress_report import methods_table

NO_METHODS: list[MethodName] = []


@flow(name="compress", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def compress(
    model: str = "",
    methods: list[MethodName] = NO_METHODS,
    publish: str = "",
    profile: str = "",
    data: str = "",
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Makes smaller and faster versions of a published model and measures them. One that does not pass is a result.

    Args:
        model: NAME or NAME@ALIAS in the registry, or the full path of a release's folder. Empty: the only model there is.
        methods: Which methods are tried. Empty: all that can be; distill trains a network, and is tried by name only.
        publish: The method whose model is published as a new version, if the gate passes it. Empty: none.
        profile: Whose data and settings, where they are not those of the run that published the model.
        data: Other data, by their full path or address.
        overrides: Other settings, each KEY=VALUE.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    place = request_of_run("", "", [], store)
    asked = Asked(model, methods, publish or None, profile or None, full_path(data) or None, overrides)
    compression = make_compression(asked, place)
    with shown_in_prefect(COMPRESS_SHARES):
        summary = compress_model(
            compression, prefect_stages(), lambda method, work: run_in_task("method", method, work)
        )
    request, found = compression.request, summary.compress or CompressSummary()
    text = f"{markdown_text(f'{request.name}: {summary.reason}')}. {report_link(request, summary)}"
    leave_table("methods", methods_table(found), text)
    rename_run(str(summary.finding))
    return Completed(message=redact(f"{summary.finding}: {summary.reason}"), data=summary.as_json())
