"""The deployments of deployments/prefect.yaml, as they are registered: rendered here, without a server."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, JsonValue
from typing_extensions import TypedDict

from flows.request import not_one_of
from tasks.errors import UsageError

POOL = "crossmodal"
FILE = Path(str(resources.files("deployments"))) / "prefect.yaml"
PoolType = Literal["process", "docker", "kubernetes"]
POOL_TYPES: tuple[PoolType, ...] = get_args(PoolType)
BASE = "weekly"
"""The deployment of `retrain` whose settings those of other profiles take over."""


class Schedule(BaseModel):
    """One entry of `schedules`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str
    timezone: str = "UTC"
    active: bool = True


class ConcurrencyLimit(BaseModel):
    """How many runs of a deployment there may be at once, and what becomes of one more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"


class WorkPool(BaseModel):
    """Where the runs of a deployment go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = POOL
    job_variables: dict[str, JsonValue] = {}


class ParameterSchema(TypedDict, total=False):
    """A flow's parameters as JSON Schema, as Prefect makes it."""

    title: str
    type: str
    properties: dict[str, dict[str, JsonValue]]
    required: list[str]
    definitions: dict[str, JsonValue]


class Deployment(BaseModel):
    """One entry of prefect.yaml, in Prefect's words; what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    entrypoint: str
    description: str = ""
    tags: tuple[str, ...] = ()
    parameters: dict[str, JsonValue] = {}
    schedules: tuple[Schedule, ...] = ()
    concurrency_limit: ConcurrencyLimit | int | None = None
    enforce_parameter_schema: bool = True
    triggers: tuple[dict[str, JsonValue], ...] = ()
    work_pool: WorkPool = WorkPool()
    flow_name: str = ""
    """Of the flow itself; filled in when it is rendered."""
    parameter_openapi_schema: ParameterSchema = {}
    """The form in the UI, and what parameters are checked against."""


class Target(BaseModel):
    """Where deployments are registered, and what they may choose from there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: str = POOL
    type: PoolType = "process"
    image: str | None = None
    """docker, kubernetes: the image in which crossmodal is installed."""
    store: str | None = None
    """process: the folder of the store on this machine. In a container it is where the pool's template puts it."""
    profiles: tuple[str, ...] = ()


def read_deployments() -> list[Deployment]:
    """The entries of deployments/prefect.yaml."""
    import yaml

    return [
        Deployment.model_validate(entry) for entry in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    ]


def render_deployment(entry: Deployment, target: Target) -> Deployment:
    """The entry with its flow's parameters as a schema, the profiles as choices, and what depends on the target."""
    from prefect.flows import Flow, load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    flow: Flow[..., Any] = load_flow_from_entrypoint(entry.entrypoint, use_placeholder_flow=False)
    schema = cast(ParameterSchema, parameter_schema(flow).model_dump(exclude_unset=True))
    parameters = dict(entry.parameters)
    if target.type == "process" and target.store is not None and "store" in schema["properties"]:
        parameters["store"] = target.store
    variables = {"image": target.image} if target.image is not None else {}
    changes = {
        "flow_name": flow.name,
        "parameters": parameters,
        "parameter_openapi_schema": with_choices(schema, parameters, target.profiles),
        "work_pool": WorkPool(name=target.pool, job_variables=entry.work_pool.job_variables | variables),
    }
    return entry.model_copy(update=changes)


def with_choices(
    schema: ParameterSchema, parameters: Mapping[str, JsonValue], profiles: Sequence[str]
) -> ParameterSchema:
    """The schema with the profiles as the choices of `profile`, and the deployment's own parameters as defaults.

    A flow whose deployment names none may be run without.
    """
    narrowed = copy.deepcopy(schema)
    for name, value in parameters.items():
        if name in narrowed["properties"]:
            narrowed["properties"][name]["default"] = value
    if "profile" in narrowed["properties"]:
        narrowed["properties"]["profile"]["enum"] = [*profiles] if "profile" in parameters else ["", *profiles]
    return narrowed


def of_profile(profile: str) -> Deployment:
    """The deployment of one profile: as the weekly one, but its own name, schedule, runs and limit."""
    base = next(entry for entry in read_deployments() if entry.name == BASE)
    changes = {
        "name": profile,
        "description": f"**Retrains {profile}**, compares it with the champion, and publishes it if it passes.\n\n"
        f"Its schedule is that of `crossmodal schedule {profile}`, and can be changed or paused here. While a run is on, a "
        "second one is cancelled; other models have deployments of their own and are not kept waiting.",
        "parameters": base.parameters | {"profile": profile},
        "schedules": (),
    }
    return base.model_copy(update=changes)


def render_pool(target: Target) -> dict[str, Any]:
    """The pool's base job template, with the image filled in. UsageError where type and image do not fit."""
    if target.type not in POOL_TYPES:
        raise UsageError(f"--type: {not_one_of(target.type, POOL_TYPES)}")
    if (target.image is not None) != (target.type != "process"):
        need = "takes no --image: runs are processes of this machine" if target.type == "process" else "needs --image"
        raise UsageError(f"--type {target.type} {need}")
    template: dict[str, Any] = json.loads((FILE.parent / "pools" / f"{target.type}.json").read_text(encoding="utf-8"))
    if target.image is not None:
        template["variables"]["properties"]["image"]["default"] = target.image
    return template
