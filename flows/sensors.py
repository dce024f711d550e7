"""The schedule by which the sensor looks at a profile's data: one for each profile and deployment, made or replaced."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from flows.request import find_profile
from flows.server import on_server
from tasks.publish.names import check_model_name

SENSOR = "watch/new-data"


def schedule_watch(profile: str, source: str | None, deployment: str, every_s: float, settle_s: float) -> str:
    """The sensor looks every so many seconds; gives the schedule's name. Scheduled again, it replaces what it was.

    Raises UsageError for an unknown profile, EnvironmentFailed where the server does not answer or has no such deployment.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    path = find_profile(profile).absolute()
    named = str(path) if Path(profile).suffix == ".toml" else profile
    parameters: dict[str, Any] = {"profile": named, "deployment": deployment, "settle_s": settle_s}
    if source is not None:
        parameters["source"] = source if "://" in source else str(Path(source).absolute())
    if deployment.startswith("monitor/"):
        parameters["parameters"] = {"profile": named, "data": parameters.get("source") or _data_of(profile)}
    slug = check_model_name(f"{path.stem}-{deployment.replace('/', '-')}").lower()
    with on_server() as (client, deployment_id):
        deployment_id(deployment)
        sensor = deployment_id(SENSOR)
        for schedule in client.read_deployment_schedules(sensor):
            if schedule.slug == slug:
                client.delete_deployment_schedule(sensor, schedule.id)
        every = IntervalSchedule(interval=timedelta(seconds=every_s))
        entry = DeploymentScheduleCreate(schedule=every, active=True, parameters=parameters, slug=slug)
        client.create_deployment_schedules(sensor, [entry])
    return slug


def _data_of(profile: str) -> str:
    from flows.request import resolve_config

    path = resolve_config(profile, None, []).data.path
    return path if ":" in path else str(Path(path).absolute())
