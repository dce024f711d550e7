"""The schedule by which the sensor looks at a profile's data: one for each profile and deployment."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flows.automations import deployment_id
from flows.hosting.registering import prefect_client
from flows.request import find_profile, resolve_config
from tasks.errors import UsageError
from tasks.publish.model_names import check_model_name
from tasks.redaction import holds_credential

SENSOR = "watch/new-data"


def schedule_watch(root: Path, profile: str, source: str | None, deployment: str, every_s: float, settle_s: int) -> str:
    """The sensor looks every so many seconds; gives the schedule's name. Scheduled again, it replaces what it was.

    Raises UsageError for a profile that is unknown or cannot be read, EnvironmentFailed where the server does not answer or
    has no such deployment.
    """
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import IntervalSchedule

    if find_profile(profile, str(root)).stem != profile:
        raise UsageError(f"profile {profile!r}: the sensor takes a profile by name; put it into {root / 'profiles'}")
    resolve_config(profile, None, [], str(root))  # what cannot be read would fail once data arrive
    if source is not None and holds_credential(source):
        raise UsageError(
            f"source {source!r}: Prefect would show what opens it; give credentials to the store's own settings"
        )
    parameters: dict[str, object] = {"profile": profile, "deployment": deployment, "settle_s": settle_s}
    if source is not None:
        parameters["source"] = source if "://" in source else str(Path(source).absolute())
    slug = _slug(profile, deployment)
    with prefect_client(root) as client:
        deployment_id(client, deployment)
        sensor = deployment_id(client, SENSOR)
        for schedule in client.read_deployment_schedules(sensor):
            if schedule.slug == slug:
                client.delete_deployment_schedule(sensor, schedule.id)
        every = IntervalSchedule(interval=timedelta(seconds=every_s))
        entry = DeploymentScheduleCreate(schedule=every, active=True, parameters=parameters, slug=slug)
        client.create_deployment_schedules(sensor, [entry])
    return slug


def remove_watch(root: Path, profile: str, deployment: str) -> str:
    """The sensor looks no more at the profile's data for that deployment; gives the schedule's name.

    Raises UsageError where it did not look, EnvironmentFailed where the server does not answer.
    """
    slug = _slug(profile, deployment)
    with prefect_client(root) as client:
        sensor = deployment_id(client, SENSOR)
        known = {str(schedule.slug): schedule.id for schedule in client.read_deployment_schedules(sensor)}
        if slug not in known:
            raise UsageError(f"profile {profile!r}: is not watched for {deployment}; see crossmodal schedule list")
        client.delete_deployment_schedule(sensor, known[slug])
    return slug


def is_missing(source: str) -> bool:
    """True for a path on this machine where nothing lies."""
    return "://" not in source and not Path(source).exists()


def _slug(profile: str, deployment: str) -> str:
    """The schedule's name: one for each profile and deployment."""
    return check_model_name(f"{profile}-{deployment.replace('/', '-')}").lower()
