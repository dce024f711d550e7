"""A search for better settings as a Prefect flow: each trial is a task, the best settings become a profile of the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from data_contracts.run_summary import TuneSummary
from flows.artifacts import leave_table, report_link
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import gpu_slot, prefect_stages, uses_gpu
from flows.refusals import REFUSALS, refused
from flows.run_name import name_run, rename_run
from flows.run_progress import TUNE_SHARES, shown_in_prefect
from flows.tuning import tune_model
from tasks.config import RunConfig
from tasks.escaping import markdown_text
from tasks.redaction import redact, redact_error
from tasks.reporting.tune_report import settings_table
from tasks.task_options import TAGGED, shielded


@flow(name="tune", flow_run_name=name_run, persist_result=True, result_serializer="json")
def tune(
    profile: str = "",
    data: str = "",
    trials: Annotated[int, Field(ge=0)] = 0,
    timeout_s: Annotated[int, Field(ge=0)] = 0,
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Searches for settings with a better validation score; the best are saved as the profile NAME-tuned. Nothing is published.

    Args:
        profile: Whose settings are searched, over the ranges of its section tune.
        data: Other data than the profile's, by their full path or address.
        trials: Trials of the study, over all runs. 0: as the profile says.
        timeout_s: The run stops after this time, and the next one goes on. 0: as the profile says.
        overrides: Other settings on top of the profile, each KEY=VALUE.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    try:
        budgets = [
            *([f"tune.trials={trials}"] if trials else []),
            *([f"tune.timeout_s={timeout_s}"] if timeout_s else []),
        ]
        request = request_of_run(profile, data, [*overrides, *budgets], store)
        with shown_in_prefect(TUNE_SHARES):
            summary = tune_model(request, None, prefect_stages(), _as_task)
        found = summary.tune or TuneSummary()
        text = f"{markdown_text(f'{request.name}: {summary.reason}')}. {report_link(request, summary)}"
        leave_table("settings", settings_table(found), text)
        rename_run(str(summary.finding))
        return Completed(message=redact(f"{summary.finding}: {summary.reason}"), data=summary.as_json())
    except REFUSALS as error:
        return refused(error)
    except Exception as error:  # noqa: BLE001 (raised again)
        raise redact_error(error)  # noqa: B904


def _as_task(number: int, config: RunConfig, work: Callable[[], None]) -> None:
    """The trial is a task of the flow's run, one slot of the GPU taken while it trains there."""
    slot = gpu_slot() if uses_gpu(config) else contextlib.nullcontext()
    with slot:
        task(name="trial", task_run_name=f"trial {number}", cache_policy=NO_CACHE, **TAGGED)(shielded(work))()
