"""A comparison of variants as a Prefect flow: each fit is a task, the figures are a table, the report is linked."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from data_contracts.run_summary import CompareSummary
from flows.artifacts import leave_table, report_link
from flows.commands.compare import asked
from flows.comparing import compare_models
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import prefect_stages, run_in_task
from flows.refusals import ends_refused
from flows.run_name import name_run, rename_run
from flows.run_progress import COMPARE_SHARES, shown_in_prefect
from tasks.escaping import markdown_text
from tasks.redaction import redact
from tasks.reporting.compare_report import variants_table


@flow(name="compare", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def compare(
    profile: str = "",
    data: str = "",
    variants: str = "",
    seeds: Annotated[int, Field(ge=0)] = 0,
    reference: str = "",
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Compares variants of a model, paired over seeds and test rows, with intervals and costs. Nothing is published.

    Args:
        profile: Whose settings are the reference.
        data: Other data than the profile's, by their full path or address.
        variants: Groups of variants, or single ones, with commas between. Empty: as the profile says.
        seeds: Trainings of each variant, two at least. 0: as the profile says.
        reference: The variant that all are compared with. Empty: as the profile says.
        overrides: Other settings on top of the profile, each KEY=VALUE.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    settings = asked(variants or None, seeds or None, reference or None)
    request = request_of_run(profile, data, [*overrides, *settings], store)
    with shown_in_prefect(COMPARE_SHARES):
        summary = compare_models(
            request, prefect_stages(), lambda label, config, work: run_in_task("fit", label, work, config)
        )
    text = f"{markdown_text(f'{request.name}: {summary.reason}')} {report_link(request, summary)}"
    leave_table("variants", variants_table(summary.compare or CompareSummary()), text)
    rename_run(str(summary.finding))
    return Completed(message=redact(f"{summary.finding}: {summary.reason}"), data=summary.as_json())
