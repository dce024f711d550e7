"""What a run is called in the Prefect UI: `digits · 2026-11-25 03:00` when it starts, `… · promote v7` when it is done."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run

from data_contracts.run_summary import RunSummary
from flows.environment import store_from_environment
from flows.request import DEFAULT_PROFILE, resolve_config
from tasks.errors import CrossmodalError
from tasks.redaction import redact

_LOG = logging.getLogger("prefect.crossmodal")


def name_run() -> str:
    """The model's name and when the run was due: on the clock of the schedule that started it, else in UTC, which it says."""
    due, zone = flow_run.scheduled_start_time, schedule_timezone()
    if zone is None:
        return f"{model_name(flow_run.parameters)} · {due:%Y-%m-%d %H:%M} UTC"
    return f"{model_name(flow_run.parameters)} · {due.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def model_name(parameters: dict[str, Any]) -> str:
    """The model that a run with these parameters is about; where they are wrong, what they name."""
    if parameters.get("model"):  # of the flow monitor: NAME or NAME@ALIAS
        return str(parameters["model"]).partition("@")[0]
    profile, data, overrides = (parameters.get(key) or None for key in ("profile", "data", "overrides"))
    try:
        store = store_from_environment(parameters.get("store") or None)
        return str(resolve_config(profile, data, overrides or [], store).name)
    except CrossmodalError:  # the run itself ends with this error, and says so
        return redact(str(profile or data or DEFAULT_PROFILE))


def schedule_timezone() -> str | None:
    """The timezone of the schedule that made this run; None for one that a person or a program started."""
    if flow_run.id is None:
        return None
    try:
        with get_client(sync_client=True) as client:
            return _timezone(client, UUID(flow_run.id))
    except (httpx.HTTPError, ObjectNotFound) as error:
        _LOG.warning("timezone of the schedule not known: %s", error)
        return None


def _timezone(client: SyncPrefectClient, run_id: UUID) -> str | None:
    run = client.read_flow_run(run_id)
    if run.deployment_id is None or run.created_by is None or run.created_by.type != "SCHEDULE":
        return None
    for entry in client.read_deployment_schedules(run.deployment_id):
        if entry.id == run.created_by.id:
            return getattr(entry.schedule, "timezone", None) or "UTC"
    return None


def rename_run(outcome: str) -> None:
    """Adds how the run ended to its name. Where the server does not answer the name stays: a run never fails for it."""
    if flow_run.id is None:
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), name=f"{flow_run.name} · {outcome}")
    except (httpx.HTTPError, ObjectNotFound) as error:
        _LOG.warning("run not renamed: %s", error)


def describe_outcome(summary: RunSummary) -> str:
    """`promote v7`, `unchanged v6`, or the verdict of a model that has no version."""
    version = summary.model.version if summary.model else None
    return f"{summary.verdict} v{version}" if version is not None else str(summary.verdict)
