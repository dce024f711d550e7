"""Monitoring as a Prefect flow: new data against the champion; drift becomes an event that an automation may act on."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import JsonValue

from flows.artifacts import leave_drift
from flows.drift import monitor_manifest
from flows.events import emit_drift
from flows.flow_request import NO_OVERRIDES, Override, request_of_run
from flows.refusals import ends_refused
from flows.request import resolve_config
from flows.run_name import name_run
from tasks.monitor.task import monitor_task


@flow(name="monitor", flow_run_name=name_run, persist_result=True, result_serializer="json")
@ends_refused
def monitor(
    profile: str = "",
    data: str = "",
    model: str = "",
    overrides: list[Override] = NO_OVERRIDES,
    store: str = "",
) -> State[dict[str, JsonValue]]:
    """Compares new data with those that a model was published with. Drift is a result, not an error.

    Args:
        profile: Whose model is monitored, and how it is retrained when the data have drifted.
        data: The new data, by their full path or address; labels are not needed. Empty: the profile's, but for known rows.
        model: Another model than the profile's: NAME or NAME@ALIAS in the registry.
        overrides: Other settings on top of the profile, each KEY=VALUE.
        store: The folder for everything a run writes. Empty: as the worker is set up.
    """
    request = request_of_run(profile, data, overrides, store)
    own = resolve_config(profile, None, overrides, str(request.store.root)).name if profile else None
    summary = monitor_manifest(request, model or own, monitor_task)
    leave_drift(request, summary)
    # Without a profile the new data are all that is known to retrain on; with one, its own data are.
    emit_drift(summary, profile, "" if profile else data, overrides)
    return Completed(message=f"drift {'yes' if summary.drift else 'no'}: {summary.reason}", data=summary.as_json())
