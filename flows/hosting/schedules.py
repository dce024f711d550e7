"""Schedules on a Prefect server: a deployment a profile, so that each model has its own clock, runs and limit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict
from zoneinfo import ZoneInfo

from flows.hosting.deployments import BASE, Target
from flows.hosting.registering import (
    read_registered,
    register_profile,
)
from flows.request import not_one_of, profile_files
from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.store import Store

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.client.schemas.schedules import CronSchedule


class ScheduleLine(TypedDict):
    """One schedule as `schedule list` shows it; times are ISO 8601, in the schedule's own time zone."""

    deployment: str
    profile: str | None
    cron: str
    timezone: str | None
    active: bool
    next: str | None


def check_schedule(cron: str, timezone: str) -> tuple[CronSchedule, datetime]:
    """The schedule with the first time that it is due, when Prefect takes it and there is one; UsageError in one line
    otherwise. No server is asked.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValidationError as error:
        first = error.errors()[0]
        message = one_line(first["msg"].removeprefix("Value error, "), 200)
        option, value = str(first["loc"][0]), one_line(str(first["input"]), 80)
        hint = "an IANA name, such as Europe/Berlin" if option == "timezone" else 'five fields, such as "0 3 * * 1"'
        raise UsageError(f"--{option} {value!r}: {message}; give {hint}") from None
    due = _first_due(schedule)
    if due is None:  # Prefect's scheduler would end in a traceback at each of its passes
        raise UsageError(
            f"--cron {one_line(cron, 80)!r}: no day is such, so no run would ever be due; change day or month"
        )
    return schedule, due


def _first_due(schedule: CronSchedule) -> datetime | None:
    """When it is due for the first time from now on, in its time zone; None for the 31st of February."""
    import asyncio

    from prefect.server.schemas import schedules as server

    try:
        [due] = asyncio.run(server.CronSchedule(cron=schedule.cron, timezone=schedule.timezone).get_dates(1))
    except ValueError:  # croniter's CroniterBadDateError, which Prefect ships in a private module
        return None
    return due


def set_schedule(
    client: SyncPrefectClient, profile: str, schedule: CronSchedule, due: datetime, place: Store
) -> ScheduleLine:
    """The profile's deployment is on the server, with this schedule and no other."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    target = target_of(client, place)
    register_profile(client, profile, target)
    found = client.read_deployment_by_name(f"retrain/{profile}")
    for entry in found.schedules:
        client.delete_deployment_schedule(found.id, entry.id)
    client.create_deployment_schedules(found.id, [DeploymentScheduleCreate(schedule=schedule)])
    return ScheduleLine(
        deployment=f"retrain/{profile}",
        profile=profile,
        cron=schedule.cron,
        timezone=schedule.timezone,
        active=True,
        next=due.isoformat(timespec="minutes"),
    )


def target_of(client: SyncPrefectClient, place: Store) -> Target:
    """Where the shipped deployment's runs go: a profile's go there, too. EnvironmentFailed before `crossmodal deploy`."""
    base = next((one for one in read_registered(client) if one.name == BASE), None)
    if base is None or base.work_pool_name is None:
        raise EnvironmentFailed(f"Prefect's server has no deployment retrain/{BASE} yet: run crossmodal deploy first")
    pool = client.read_work_pool(base.work_pool_name)
    profiles = tuple(profile_files(str(place.root)))
    settings = {"pool": pool.name, "type": pool.type, "image": (base.job_variables or {}).get("image")}
    return Target.model_validate(settings | {"store": base.parameters.get("store"), "profiles": profiles})


def read_schedules(client: SyncPrefectClient) -> list[ScheduleLine]:
    """Every schedule of every deployment of `retrain`, and of the sensor by which data are watched."""
    return [
        _schedule_line(client, f"{flow}/{found.name}", found, entry)
        for flow in ("retrain", "watch")
        for found in read_registered(client, flow)
        for entry in found.schedules
    ]


def _schedule_line(
    client: SyncPrefectClient, deployment: str, found: DeploymentResponse, entry: DeploymentSchedule
) -> ScheduleLine:
    active = bool(entry.active) and not found.paused
    zone = getattr(entry.schedule, "timezone", None)
    return ScheduleLine(
        deployment=deployment,
        profile=(found.parameters | entry.parameters).get("profile"),
        cron=describe_schedule(entry.schedule),
        timezone=zone,
        active=active,
        next=_next_run(client, found.id, entry.id, zone or "UTC") if active else None,
    )


def describe_schedule(schedule: object) -> str:
    """A cron as it was typed, an interval in seconds, a recurrence rule as it stands."""
    interval = getattr(schedule, "interval", None)
    if interval is not None:
        return f"every {interval.total_seconds():g} s"
    return str(getattr(schedule, "cron", None) or getattr(schedule, "rrule", None) or type(schedule).__name__)


def change_schedule(client: SyncPrefectClient, name: str, what: str) -> str:
    """The schedules of a deployment are paused, resumed or removed. Its full name; UsageError where there is none."""
    found = find_scheduled(client, name)
    for entry in found.schedules:
        if what == "removed":
            client.delete_deployment_schedule(found.id, entry.id)
        else:
            client.update_deployment_schedule(found.id, entry.id, active=what == "resumed")
    return f"retrain/{found.name}"


def find_scheduled(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    """The deployment of that name or profile, when it has a schedule; UsageError otherwise."""
    known = {found.name: found for found in read_registered(client) if found.schedules}
    return known[which_scheduled(name, {short: found.parameters.get("profile") for short, found in known.items()})]


def which_scheduled(name: str, profiles: Mapping[str, object]) -> str:
    """The deployment that is meant, of those with their profiles: by its name (`digits` or `retrain/digits`), else by a
    profile that only one of them has. UsageError otherwise.
    """
    short = name.removeprefix("retrain/")
    if short in profiles:
        return short
    of_profile = [deployment for deployment, profile in profiles.items() if profile == short]
    if len(of_profile) != 1:
        raise UsageError(f"schedule: {not_one_of(short, profiles)}; see crossmodal schedule list")
    return of_profile[0]


def _next_run(client: SyncPrefectClient, deployment_id: UUID, schedule_id: UUID, zone: str) -> str | None:
    """When the schedule's next run is due, in its time zone, once Prefect's scheduler has made it."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    )
    due = [run.expected_start_time for run in runs if run.created_by is not None and run.created_by.id == schedule_id]
    return due[0].astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") if due and due[0] is not None else None
