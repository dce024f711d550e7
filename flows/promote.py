"""A person's decision on a candidate that waits for approval, as a Prefect flow: what the deployment `promote` runs."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.environment import now_ms, store_from_environment, tracking_uri_from_environment, user_name
from flows.request import default_tracking_uri
from tasks.publish import registry
from tasks.publish.approval import Approval
from tasks.store import Store


@flow(name="promote", persist_result=True, result_serializer="json")
def promote(
    model: str,
    version: str,
    reason: str,
    decision: Literal["approve", "reject"] = "approve",
    alias: str = "champion",
    store: str | None = None,
) -> State[dict[str, Any]]:
    """Approves or rejects a candidate: an approved one becomes the champion. Who, when and why is kept in the registry.

    Args:
        model: The model's name, as crossmodal models pending lists it.
        version: The version that waits.
        reason: Why; it is kept with the version.
        decision: approve moves the alias to this version; reject leaves it where it is.
        alias: The alias to move.
        store: The folder for everything a run writes. Default: CROSSMODAL_STORE, else .crossmodal.
    """
    place = Store(store_from_environment(store))
    tracking_uri = tracking_uri_from_environment() or default_tracking_uri(place)
    approval = Approval(f"{user_name()} (Prefect flow run {flow_run.name})", now_ms(), reason)
    if decision == "approve":
        entry = registry.promote(model, version, alias, place, tracking_uri, approval).model_dump(mode="json")
        message = f"{model} version {version} is now {alias}: {reason}"
    else:
        entry = registry.reject(model, version, approval, place, tracking_uri)
        message = f"{model} version {version} is rejected: {reason}"
    get_run_logger().info(message)
    return Completed(message=message, data=entry)
