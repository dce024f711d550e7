"""A person's decision on a candidate that waits for approval, as a Prefect flow: what the deployment `promote` runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field

from flows.environment import now_ms, tracking_uri_from_environment, user_name
from flows.flow_request import store_of_run
from flows.journaling import record_decisions
from flows.refusals import ends_refused
from flows.request import default_tracking_uri, verify_key_from_environment
from flows.run_name import rename_run
from tasks.publish import registry
from tasks.publish.approval import Approval
from tasks.shared_store import open_store


@flow(name="promote", persist_result=True, result_serializer="json")
@ends_refused
def promote(
    model: str = "",
    version: str = "",
    decision: Literal["approve", "reject"] = "approve",
    *,
    reason: Annotated[str, Field(min_length=1)],
    alias: str = "champion",
    store: str = "",
) -> State[Mapping[str, object]]:
    """Approves or rejects a candidate: an approved one becomes the champion. Who, when and why is kept in the registry.

    Args:
        model: The model's name. Empty: the only one whose candidate waits.
        version: The version that waits. Empty: the only one that does.
        decision: approve moves the alias to this version; reject leaves it where it is.
        reason: Why. It is kept with the version.
        alias: The alias to move.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    place = open_store(store_of_run(store))
    tracking_uri = tracking_uri_from_environment() or default_tracking_uri(place)
    approval = Approval(f"{user_name()} (Prefect flow run {flow_run.name})", now_ms(), reason)
    model, version = registry.find_pending(model, version, place, tracking_uri, approval.at_ms)
    if decision == "approve":
        entry: Mapping[str, object] = registry.promote(
            model, version, alias, place, tracking_uri, approval, verify_key_from_environment()
        ).model_dump(mode="json")
        message = f"{model} version {version} is now {alias}: {reason}"
    else:
        entry = registry.reject(model, version, approval, place, tracking_uri)
        message = f"{model} version {version} is rejected: {reason}"
    record_decisions(model, alias, place, tracking_uri)
    get_run_logger().info(message)
    rename_run(f"{decision} {model} v{version}")
    return Completed(message=message, data=entry)
