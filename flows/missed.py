"""Says that a run did not happen: what the automation `crossmodal-run-missed` starts."""

from __future__ import annotations

from prefect import flow

from flows.events import emit_missed


@flow(name="missed")
def missed(deployment: str = "retrain/weekly", model: str = "all", reason: str = "no run completed in time") -> None:
    """Emits `crossmodal.run.missed`, for whoever listens to events; the webhook is called without it.

    Args:
        deployment: FLOW/NAME whose run is missing.
        model: The model's name, where the deployment is for one.
        reason: What the automation saw.
    """
    emit_missed(model, deployment, reason)
