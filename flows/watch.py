"""The sensor as a Prefect flow: run every few minutes by a schedule, it starts a run when data have arrived."""

from __future__ import annotations

import time

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.arrivals import starter, was_lost, watch_source
from flows.environment import tracking_uri_from_environment
from flows.flow_request import NO_OVERRIDES, Override, store_of_run
from flows.request import make_request, resolve_config
from tasks.redaction import redact


@flow(name="watch")
def watch(
    profile: str = "",
    source: str = "",
    deployment: str = "retrain/weekly",
    settle_s: int = 60,
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[str]:
    """Looks into a folder, a manifest or a bucket; starts a deployment once for what has arrived there and has settled.

    Args:
        profile: Whose data are watched; also the profile of the run that is started.
        source: The folder, file or address to look at. Empty: the profile's data.
        deployment: FLOW/NAME of what is started with profile and overrides; monitor/new-data gets the source as its data.
        settle_s: Seconds for which nothing may have changed: files that are being written wait.
        overrides: KEY=VALUE settings on top of the profile; data.allowed_schemes for buckets.
        store: The folder in which the place is kept. Empty: as the worker is set up.
    """
    place = store_of_run(store)
    config = resolve_config(profile or None, None if profile else source or None, overrides, place)
    request = make_request(config, place, tracking_uri_from_environment(), "watch")
    where = source or config.data.path
    parameters: dict[str, object] = {"profile": profile} if profile else {"data": where}
    if source and deployment.startswith("monitor/"):
        parameters["data"] = source  # what arrives is monitored; what is retrained is the profile's own data
    start = starter(deployment, parameters | {"overrides": overrides})
    outcome = watch_source(where, config, request.store, deployment, time.time(), settle_s, start, was_lost)
    return Completed(message=redact(outcome), data=redact(outcome))
