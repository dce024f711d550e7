"""A comparison of variants as a Prefect flow: each fit is a task, the figures are a table, the report is linked."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from data_contracts.run_summary import CompareSummary
from flows.artifacts import leave_table, report_link
from flows.commands.compare import asked
from flows.comparing import compare_models
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import gpu_slot, prefect_stages, uses_gpu
from flows.refusals import REFUSALS, refused
from flows.run_name import name_run, rename_run
from flows.run_progress import COMPARE_SHARES, shown_in_prefect
from tasks.config import RunConfig
from tasks.escaping import markdown_text
from tasks.redaction import redact, redact_error
from tasks.reporting.compare_report import variants_table
from tasks.task_options import TAGGED, shielded


@flow(name="compare", flow_run_name=name_run, persist_result=True, result_serializer="json")
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
    try:
        settings = asked(variants or None, seeds or None, reference or None)
        request = request_of_run(profile, data, [*overrides, *settings], store)
        with shown_in_prefect(COMPARE_SHARES):
            summary = compare_models(request, prefect_stages(), _as_task)
        text = f"{markdown_text(f'{request.name}: {summary.reason}')} {report_link(request, summary)}"
        leave_table("variants", variants_table(summary.compare or CompareSummary()), text)
        rename_run(str(summary.finding))
        return Completed(message=redact(f"{summary.finding}: {summary.reason}"), data=summary.as_json())
    except REFUSALS as error:
        return refused(error)
    except Exception as error:  # noqa: BLE001 (raised again)
        raise redact_error(error)  # noqa: B904


def _as_task(label: str, config: RunConfig, work: Callable[[], None]) -> None:
    """The fit is a task of the flow's run, one slot of the GPU taken while it trains there."""
    slot = gpu_slot() if uses_gpu(config) else contextlib.nullcontext()
    with slot:
        task(name="fit", task_run_name=label, cache_policy=NO_CACHE, **TAGGED)(shielded(work))()
