"""One run as a list shows it: read from what it left in its folder."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from data_contracts.refs import Metrics

Status = Literal["running", "completed", "failed", "crashed", "unreadable"]


class RunRecord(BaseModel, frozen=True):
    """One run; what it did not come to is None or empty."""

    run: str
    flow: str | None = None
    status: Status
    """crashed: neither ended nor alive. unreadable: its folder is damaged."""
    verdict: str | None = None
    """The gate's, or what a check or a monitor run found."""
    reason: str | None = None
    model: str | None = None
    version: str | None = None
    sha256: str | None = None
    started: datetime
    finished: datetime | None = None
    data: str | None = None
    data_sha256: str | None = None
    """Of the manifest's content, the media included; wherever it lies."""
    labels: tuple[str, ...] = ()
    rows: dict[str, int] = {}
    splits: dict[str, int] = {}
    metrics: Metrics = {}
    """On the test rows."""
    intervals: dict[str, tuple[float, float]] = {}
    seconds: dict[str, float] = {}
    git_commit: str | None = None
    prefect_run_id: str | None = None
    report: str | None = None
    """Path below the store; None where there is none."""
    repeats: str | None = None
    """The run whose report has what its own leaves out; None: it leaves nothing out."""
