"""The pipeline as a Prefect flow: what a schedule runs, what a button in the UI starts, what `crossmodal retrain` calls."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated, Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field, JsonValue

from flows.artifacts import leave_table
from flows.environment import refresh_from_environment
from flows.events import emit_verdict
from flows.flow_request import NO_OVERRIDES, Override, request_of_run, settings_of
from flows.plan import describe_plan, plan_retrain
from flows.planned_stages import planned
from flows.prefect_stages import prefect_stages
from flows.preflight import failure, preflight, preflight_lines
from flows.refusals import ends_refused
from flows.request import OF_PROFILE, Mode, PresetChoice, Request, named_profile
from flows.run_name import describe_outcome, name_run, rename_run
from flows.run_progress import execute_shown
from tasks.display_table import DisplayTable
from tasks.escaping import markdown_text
from tasks.redaction import redact, redact_json

# Prefect types a runner by its own future; the decorator asks for one of any future.
_RUNNER = cast(TaskRunner[PrefectFuture[Any]], ThreadPoolTaskRunner(max_workers=min(8, os.cpu_count() or 1)))


@flow(
    name="retrain",
    flow_run_name=name_run,
    task_runner=_RUNNER,
    persist_result=True,
    result_serializer="json",
)
@ends_refused
def retrain(
    profile: str = "",
    data: str = "",
    mode: Mode = "full",
    preset: PresetChoice = OF_PROFILE,
    epochs: Annotated[int, Field(ge=0)] = 0,
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Retrains a model: ingest, validate, extract, train, evaluate, gate, publish. A refused model is a result.

    Args:
        profile: What to retrain. A profile holds the data and every setting of a model; make one with crossmodal profile new.
        data: Other data than the profile's: the full path of a manifest or a folder, or its address. Empty: the profile's.
        mode: full: the whole pipeline. plan only: say what would be computed. evaluate only: evaluate the champion again.
        preset: Encoders of one size, where the profile names none. Get them first: crossmodal fetch preset:NAME.
        epochs: Train at most so many epochs. 0: as the profile says.
        overrides: Other settings on top of the profile, each KEY=VALUE, for example train.batch_size=32.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    request = replace(
        request_of_run(profile, data, settings_of(preset, overrides, epochs), store),
        prefect_run_id=str(flow_run.id),
        refresh=refresh_from_environment(),
        profile=named_profile(profile, data),
    )
    if mode == "plan only":
        return _plan(request)
    stages = prefect_stages()
    summary = execute_shown(request, planned(stages, request) if mode == "full" else stages, mode)
    rename_run(describe_outcome(summary))
    emit_verdict(summary)
    return Completed(message=f"{summary.verdict}: {summary.reason}", data=summary.as_json())


def _plan(request: Request) -> State[dict[str, JsonValue]]:
    """The preflight and the plan as the run's first artifact, and the plan as its message; no work is done."""
    checks = preflight(request)
    refusal = failure(checks)
    lines = [] if refusal else plan_retrain(request)
    text = f"plan: {refusal}" if refusal else describe_plan(lines)
    table = DisplayTable.of([*preflight_lines(checks), *lines])
    leave_table("plan", table, markdown_text(f"{request.name}: {text}"))
    rename_run("plan")
    if refusal is not None:
        raise refusal
    return Completed(message=redact(text), data=redact_json({"plan": lines, "data": request.config.data.path}))
