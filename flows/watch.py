"""The sensor as a Prefect flow: run every few minutes by a schedule, it starts a run when data have arrived."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.arrivals import starter, was_lost, watch_source
from flows.environment import store_from_environment, tracking_uri_from_environment
from flows.request import make_request, resolve_config


@flow(name="watch")
def watch(
    profile: str | None = None,
    source: str | None = None,
    deployment: str = "retrain/weekly",
    parameters: dict[str, Any] | None = None,
    settle_s: float = 60.0,
    overrides: list[str] | None = None,
    store: str | None = None,
) -> State[str]:
    """Looks into a folder, a manifest or a bucket; starts a deployment once for what has arrived there and has settled.

    Args:
        profile: A name in deployments/profiles, or a TOML file; also the profile of the run that is started.
        source: The folder, file or address to look at. Default: the profile's data.path.
        deployment: FLOW/NAME of what is started.
        parameters: Of the run that is started. Default: the profile and the overrides; without a profile, the source as data.
        settle_s: Seconds for which nothing may have changed: files that are being written wait.
        overrides: KEY=VALUE settings on top of the profile; data.allowed_schemes for buckets.
        store: The folder in which the place is kept. Default: CROSSMODAL_STORE, else .crossmodal.
    """
    config = resolve_config(profile, None if profile else source, overrides or [])
    request = make_request(config, store_from_environment(store), tracking_uri_from_environment(), "watch")
    where = source or config.data.path
    named = {"profile": profile} if profile else {"data": where}
    start = starter(deployment, parameters or {**named, "overrides": overrides or []})
    said = watch_source(where, config, request.store, deployment, time.time(), settle_s, start, was_lost)
    return Completed(message=said, data=said)
