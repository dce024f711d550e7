"""Events that crossmodal emits to Prefect, for automations to act on. None of them can fail the run that emits it."""

from __future__ import annotations

import logging
from typing import Literal

from pydantic import BaseModel, ConfigDict

from data_contracts.run_summary import RunSummary
from tasks.escaping import one_line
from tasks.redaction import redact_json

_LOG = logging.getLogger("prefect.crossmodal")
Name = Literal[
    "crossmodal.model.promoted",
    "crossmodal.model.rejected",
    "crossmodal.model.pending",
    "crossmodal.data.drifted",
    "crossmodal.run.missed",
]
OF_VERDICT: dict[str, Name] = {
    "promote": "crossmodal.model.promoted",
    "reject": "crossmodal.model.rejected",
    "inconclusive": "crossmodal.model.rejected",
    "needs-approval": "crossmodal.model.pending",
}
"""`unchanged` is no news."""
_REASON_CHARS = 500


class _Payload(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    reason: str


class VerdictPayload(_Payload):
    """Of `crossmodal.model.*`."""

    verdict: str
    version: str | None
    sha256: str | None
    run: str
    metrics: dict[str, float | None]
    """On the test rows."""


class DriftPayload(_Payload):
    """Of `crossmodal.data.drifted`; the last three say how to retrain the model."""

    version: str
    run: str
    drifted: tuple[str, ...]
    """Names of the tests, the most certain first."""
    rows: int
    profile: str
    data: str
    overrides: tuple[str, ...]


class MissedPayload(_Payload):
    """Of `crossmodal.run.missed`."""

    deployment: str


def emit_verdict(summary: RunSummary) -> None:
    """Emits the outcome of a retrained model; nothing where nothing has changed."""
    event, model = OF_VERDICT.get(str(summary.verdict)), summary.model
    if event is None or model is None:
        return
    payload = VerdictPayload(
        model=str(model.name),
        reason=one_line(str(summary.reason), _REASON_CHARS),
        verdict=str(summary.verdict),
        version=model.version,
        sha256=model.sha256,
        run=str(summary.run),
        metrics=summary.metrics.get("test", {}),
    )
    _emit(event, payload)


def emit_drift(summary: RunSummary, profile: str, data: str, overrides: list[str]) -> None:
    """Emits that data have drifted, and how the model is retrained; nothing where they have not."""
    if not summary.drift or summary.model is None:
        return
    payload = DriftPayload(
        model=str(summary.model.name),
        reason=one_line(str(summary.reason), _REASON_CHARS),
        version=str(summary.model.version),
        run=str(summary.run),
        drifted=tuple(test.name for test in summary.tests or () if test.drifted),
        rows=summary.compared or 0,
        profile=profile,
        data=data,
        overrides=tuple(overrides),
    )
    _emit("crossmodal.data.drifted", payload)


def emit_missed(model: str, deployment: str, reason: str) -> None:
    """Emits that no run happened where one was due."""
    _emit("crossmodal.run.missed", MissedPayload(model=model, deployment=deployment, reason=reason))


def _emit(event: Name, payload: _Payload) -> None:
    from prefect.events import emit_event

    resource = {"prefect.resource.id": f"crossmodal.model.{payload.model}", "prefect.resource.name": payload.model}
    try:
        emit_event(event=event, resource=resource, payload=redact_json(payload.model_dump(mode="json")))
    except Exception as error:  # noqa: BLE001 (the run is done and its result is stored: a lost event must not fail it)
        _LOG.warning("event %s not emitted: %s", event, one_line(str(error)))
