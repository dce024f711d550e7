"""What the parameters of a flow run ask for: every flow here takes the same ones, empty where there is nothing to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from prefect.runtime import deployment, flow_run
from pydantic import Field

from flows.environment import store_from_environment, tracking_uri_from_environment
from flows.request import OF_PROFILE, OVERRIDE, PresetChoice, Request, make_request, resolve_config
from flows.threads import let_threads_sleep
from tasks.config_paths import absolute_path
from tasks.errors import UsageError
from tasks.redaction import redact, redact_output

Override = Annotated[str, Field(pattern=OVERRIDE)]
NO_OVERRIDES: list[Override] = []
_HELD: dict[str, str] = {}
"""Parameters of flow runs in this process, by what Prefect has of them."""


def request_of_run(profile: str, data: str, overrides: Sequence[str], store: str) -> Request:
    """The request of the flow run that this is called in; its id is when that was due and the beginning of Prefect's id."""
    redact_output()
    let_threads_sleep()
    place = store_of_run(store)
    data, overrides = _HELD.get(data, data), [_HELD.get(text, text) for text in overrides]
    config = resolve_config(profile or None, full_path(data) or None, overrides, place)
    run_id = f"{flow_run.scheduled_start_time:%Y%m%d-%H%M%S}-{str(flow_run.id)[:8]}"
    return make_request(config, place, tracking_uri_from_environment(), run_id)


def settings_of(preset: PresetChoice, overrides: Sequence[str], epochs: int) -> list[str]:
    """The fields of a retrain's form as overrides: one by KEY=VALUE wins over the preset, the number of epochs over both."""
    chosen = [f"encoders.preset={preset}"] if preset != OF_PROFILE else []
    return [*chosen, *overrides, *([f"train.epochs={epochs}"] if epochs else [])]


def recorded_as(parameter: str) -> str:
    """The parameter without credentials, as Prefect may keep and show it; `request_of_run` in this process gets it whole."""
    shown = redact(parameter)
    if shown != parameter:
        _HELD[shown] = parameter
    return shown


def store_of_run(store: str) -> str:
    """The store. Raises UsageError for a relative one in a run of a deployment: its folder is one that the worker deletes."""
    place = store_from_environment(store or None)
    if deployment.id is not None and not Path(place).is_absolute():
        raise UsageError(
            f"store {place!r}: give its full path, as the parameter store or in CROSSMODAL_STORE where the worker starts; "
            "a deployment runs in a folder of the worker's, which is deleted"
        )
    return place


def full_path(data: str) -> str:
    """The path. Raises UsageError for a relative one in a run of a deployment, where no current folder is anyone's."""
    if deployment.id is not None and data != absolute_path(data, Path("/")):
        raise UsageError(f"data {data!r}: give its full path; a deployment runs in a folder of the worker's")
    return data
