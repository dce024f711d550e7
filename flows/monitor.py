"""Monitoring as a Prefect flow: new data against the champion; drift becomes an event that an automation may act on."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.artifacts import leave_drift
from flows.drift import monitor_manifest
from flows.environment import store_from_environment, tracking_uri_from_environment
from flows.events import emit_drift
from flows.request import make_request, resolve_config
from tasks.monitor.task import monitor_task


@flow(name="monitor", persist_result=True, result_serializer="json")
def monitor(
    data: str,
    model: str | None = None,
    profile: str | None = None,
    overrides: list[str] | None = None,
    store: str | None = None,
) -> State[dict[str, Any]]:
    """Compares new data with those that a model was published with. Drift is a result, not an error.

    Args:
        data: The new data: a manifest, a folder per class, or a folder of tables. Labels are not needed.
        model: NAME or NAME@ALIAS in the registry. Default: the profile's, or the only one there is.
        profile: How the model is retrained when the data have drifted: a name in deployments/profiles, or a TOML file.
        overrides: KEY=VALUE settings on top of the profile.
        store: The folder for everything a run writes. Default: CROSSMODAL_STORE, else .crossmodal.
    """
    config = resolve_config(profile, data, overrides or [])
    if model is None and profile is not None:
        model = resolve_config(profile, None, overrides or []).name
    run_id = f"{flow_run.scheduled_start_time:%Y%m%d-%H%M%S}-{str(flow_run.id)[:8]}"
    request = make_request(config, store_from_environment(store), tracking_uri_from_environment(), run_id)
    summary = monitor_manifest(request, model, monitor_task)
    leave_drift(request, summary)
    # Without a profile the new data are all that is known to retrain on; with one, its own data are.
    emit_drift(summary, profile, None if profile else data, overrides or [])
    return Completed(message=f"drift {'yes' if summary['drift'] else 'no'}: {summary['reason']}", data=summary)
