"""A search for better settings as a Prefect flow: each trial is a task, the best settings become a profile of the store."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from data_contracts.run_summary import TuneSummary
from flows.artifacts import leave_table, report_link
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.prefect_stages import prefect_stages, run_in_task
from flows.refusals import ends_refused
from flows.run_name import name_run, rename_run
from flows.run_progress import TUNE_SHARES, shown_in_prefect
from flows.tuning import tune_model
from tasks.escaping import markdown_text
from tasks.redaction import redact
from tasks.reporting.tune_report import settings_table


@flow(name="tune", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
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
        timeout_s: The run stops after this time, and the next one resumes. 0: as the profile says.
        overrides: Other settings on top of the profile, each KEY=VALUE.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    budgets = [
        *([f"tune.trials={trials}"] if trials else []),
        *([f"tune.timeout_s={timeout_s}"] if timeout_s else []),
    ]
    request = request_of_run(profile, data, [*overrides, *budgets], store)
    with shown_in_prefect(TUNE_SHARES):
        summary = tune_model(
            request,
            None,
            prefect_stages(),
            lambda number, config, work: run_in_task("trial", f"trial {number}", work, config),
        )
    found = summary.tune or TuneSummary()
    text = f"{markdown_text(f'{request.name}: {summary.reason}')}. {report_link(request, summary)}"
    leave_table("settings", settings_table(found), text)
    rename_run(str(summary.finding))
    return Completed(message=redact(f"{summary.finding}: {summary.reason}"), data=summary.as_json())
