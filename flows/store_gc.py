"""Deleting what nothing needs as a Prefect flow: what the deployment `store-gc/unneeded` runs every week."""

from __future__ import annotations

import time
from typing import Annotated

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field, JsonValue

from flows.collecting import collect
from flows.environment import tracking_uri_from_environment
from flows.flow_request import store_of_run
from flows.refusals import ends_refused
from flows.request import default_tracking_uri
from flows.store_roots import KEEP_DAYS, KEEP_RUNS
from tasks.shared_store import open_store


@flow(name="store-gc", persist_result=True, result_serializer="json")
@ends_refused
def store_gc(
    keep_runs: Annotated[int, Field(ge=1)] = KEEP_RUNS,
    keep_days: Annotated[int, Field(ge=0)] = KEEP_DAYS,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Deletes results that nothing needs and no run has used for a while; published models, scores and the journal stay.

    Args:
        keep_runs: Of each model so many of the newest runs are kept in full.
        keep_days: What was used within so many days is kept, whatever it is.
        store: The store. Empty: as the worker is set up.
    """
    place = open_store(store_of_run(store))
    tracking_uri = tracking_uri_from_environment() or default_tracking_uri(place)
    found = collect(place, tracking_uri, keep_runs, keep_days, time.time())
    message = found.describe()
    get_run_logger().info(message)
    return Completed(message=message, data=found.as_json())
