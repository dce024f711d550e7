"""The plan of a run in the Prefect UI, left by the run itself before it computes anything."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from data_contracts.refs import RawRef
from flows.artifacts import leave_table
from flows.plan import describe_plan, plan_rows
from flows.request import Request
from flows.stages import Stages
from tasks.config import RunConfig
from tasks.display_table import DisplayTable
from tasks.errors import CrossmodalError
from tasks.escaping import markdown_text
from tasks.store import Store


def planned(stages: Stages, request: Request) -> Stages:
    """The stages; once the rows are read, and before they are ingested, the run's first table says what it will compute."""
    is_left = False

    def scan(config: RunConfig, store: Store, data: Path) -> RawRef:
        """The rows as they are read; the first time they are the run's own, later those as its champion reads them."""
        nonlocal is_left
        raw = stages.scan(config, store, data)
        if not is_left:
            is_left = True
            with contextlib.suppress(CrossmodalError):  # which ends the run where it comes to it
                lines = plan_rows(request, raw)
                leave_table("plan", DisplayTable.of(lines), markdown_text(f"{request.name}: {describe_plan(lines)}"))
        return raw

    return replace(stages, scan=scan)
