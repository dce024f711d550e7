"""Puts deployments, their pool and the GPU's slot on a Prefect server, through Prefect's client."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.environment import use_prefect
from flows.hosting.deployments import (
    BASE,
    Deployment,
    Target,
    of_profile,
    read_deployments,
    render_deployment,
    render_pool,
)
from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.shared_store import store_option

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

GPU_SLOT = "gpu"
TAG = "crossmodal"


@contextlib.contextmanager
def prefect_client(root: Path) -> Iterator[SyncPrefectClient]:
    """A client of the server of this store's `crossmodal up`, or of PREFECT_API_URL. EnvironmentFailed where none answers."""
    use_prefect(root)
    if "PREFECT_API_URL" not in os.environ:
        raise EnvironmentFailed(
            f"no Prefect server: start one with crossmodal up {store_option(root)}, "
            "or set PREFECT_API_URL to one that runs"
        )
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    url = os.environ["PREFECT_API_URL"]
    try:
        with get_client(sync_client=True) as client:
            yield client
    except PrefectHTTPStatusError as error:
        status, text = error.response.status_code, one_line(error.response.text, 300)
        raise EnvironmentFailed(
            f"Prefect at {url}: status {status}: {text}; check PREFECT_API_URL and its key"
        ) from None
    except (httpx.HTTPError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "API" not in str(error) and "server" not in str(error):
            raise
        message = one_line(str(error) or type(error).__name__, 300)
        raise EnvironmentFailed(
            f"Prefect at {url}: no answer ({message}); start crossmodal up, or check PREFECT_API_URL"
        ) from None


def register_all(client: SyncPrefectClient, target: Target) -> list[str]:
    """The pool, the GPU's slot and every deployment are on the server; those of profiles get today's choices. Their names."""
    template = render_pool(target)  # a wrong type or image ends here
    rendered = [render_deployment(entry, target) for entry in read_deployments()]
    create_pool(client, target, template)
    ensure_gpu_slot(client)
    names = [register(client, entry) for entry in rendered]
    shipped = {entry.name for entry in rendered if entry.flow_name == "retrain"}
    others = [found.name for found in read_registered(client) if found.name not in shipped]
    return names + [register_profile(client, name, target) for name in others if name in target.profiles]


def register_profile(client: SyncPrefectClient, profile: str, target: Target) -> str:
    """The profile's own deployment is on the server. UsageError where its name is that of a shipped one."""
    check_name(profile)
    return register(client, render_deployment(of_profile(profile), target))


def check_name(profile: str) -> None:
    """Raises UsageError where `retrain` has a shipped deployment of that name; what other flows call theirs is free."""
    if profile == BASE:
        raise UsageError(
            f"profile {profile!r}: retrain/{BASE} is a deployment already; call the profile something else"
        )


def create_pool(client: SyncPrefectClient, target: Target, template: dict[str, Any]) -> None:
    """The work pool is there with this template; its limits and whether it is paused stay."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    try:
        found = client.read_work_pool(target.pool)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=target.pool, type=target.type, base_job_template=template))
        return
    if found.type != target.type:
        raise UsageError(f"pool {target.pool!r} is of type {found.type}; choose another name with --pool")
    client.update_work_pool(target.pool, WorkPoolUpdate(base_job_template=template))


def ensure_gpu_slot(client: SyncPrefectClient) -> None:
    """The global limit `gpu` is there: one slot, unless someone has set another number."""
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    try:
        client.read_global_concurrency_limit_by_name(GPU_SLOT)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_SLOT, limit=1))


def register(client: SyncPrefectClient, entry: Deployment) -> str:
    """The deployment is on the server, and its full name. Schedules are set once: what a person changed there stays."""
    from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
    from prefect.client.schemas.objects import ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.exceptions import ObjectNotFound

    limit = entry.concurrency_limit
    strategy = None if limit is None or isinstance(limit, int) else limit.collision_strategy
    fields: dict[str, Any] = {
        "parameters": entry.parameters,
        "description": entry.description,
        "tags": list(entry.tags),
        "entrypoint": entry.entrypoint,
        "work_pool_name": entry.work_pool.name,
        "job_variables": entry.work_pool.job_variables,
        "enforce_parameter_schema": entry.enforce_parameter_schema,
        "parameter_openapi_schema": entry.parameter_openapi_schema,
        "concurrency_limit": limit if limit is None or isinstance(limit, int) else limit.limit,
        "concurrency_options": ConcurrencyOptions.model_validate({"collision_strategy": strategy})
        if strategy
        else None,
    }
    full_name = f"{entry.flow_name}/{entry.name}"
    try:
        deployment_id = client.read_deployment_by_name(full_name).id
        client.update_deployment(deployment_id, DeploymentUpdate(**fields))
    except ObjectNotFound:
        schedules = [
            DeploymentScheduleCreate(schedule=CronSchedule(cron=one.cron, timezone=one.timezone), active=one.active)
            for one in entry.schedules
        ]
        flow_id = client.create_flow_from_name(entry.flow_name)
        deployment_id = client.create_deployment(flow_id, entry.name, schedules=schedules, **fields)
    set_triggers(client, entry, str(deployment_id))
    return full_name


def set_triggers(client: SyncPrefectClient, entry: Deployment, deployment_id: str) -> None:
    """The entry's own `triggers` are on the server, in the place of those it had before."""
    from uuid import UUID

    from prefect.events import DeploymentTriggerTypes
    from pydantic import TypeAdapter

    client.delete_resource_owned_automations(f"prefect.deployment.{deployment_id}")
    adapter: TypeAdapter[DeploymentTriggerTypes] = TypeAdapter(DeploymentTriggerTypes)
    for number, spec in enumerate(entry.triggers, start=1):
        trigger = adapter.validate_python({"name": f"{entry.name} {number}"} | spec)
        trigger.set_deployment_id(UUID(deployment_id))
        client.create_automation(trigger.as_automation())


def read_registered(client: SyncPrefectClient, flow: str = "retrain") -> list[DeploymentResponse]:
    """The deployments of a flow of ours that are on the server, by name."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowFilter, FlowFilterName

    found: list[DeploymentResponse] = []
    while True:
        page = client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
            limit=200,
            offset=len(found),
        )
        found += page
        if len(page) < 200:
            return sorted(found, key=lambda one: one.name)
