"""A line of the plan: what `crossmodal plan` says of one stage."""

from __future__ import annotations

from typing import Literal, TypedDict

Action = Literal["reuse", "compute", "ok", "warn", "fail"]


class PlanLine(TypedDict):
    """What a retrain would do in one stage."""

    stage: str
    action: Action
    """Of a check before the stages, its outcome; of rows that have changed, or of which no earlier run tells, `ok`."""
    count: int | None
    """Rows, samples, media, epochs or models; None where it is not known yet."""
    seconds: float | None
    """At most about so long, by the slowest of the last runs of this model; None where none tells."""
    why: str
