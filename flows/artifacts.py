"""What a run leaves in the Prefect UI: progress bars, the table of figures, the gate's table, the link to the report."""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.pipeline import Progressed
from flows.request import Request
from tasks.figures import figure_text
from tasks.names import markdown_text, one_line
from tasks.progress import Listener

_LOG = logging.getLogger("prefect.crossmodal")
_EVERY_S = 2.0  # each update is a request to the server


def progress_artifacts() -> Listener:
    """A listener that keeps one progress artifact per step, updated at most every two seconds."""
    known: dict[str, tuple[UUID, float]] = {}
    lock = threading.Lock()

    def listen(step: str, done: int, total: int, remark: str) -> None:
        try:
            update(step, done, total, remark)
        except httpx.HTTPError as error:  # a bar that could not be drawn must not stop the work
            _LOG.warning("progress of %s not shown: %s", step, error)

    def update(step: str, done: int, total: int, remark: str) -> None:
        share = 100.0 * done / total if total else 100.0
        with lock:
            now = time.monotonic()
            if step not in known:
                label = markdown_text(f"{step}: {remark}" if remark else step)
                made = create_progress_artifact(share, key=_slug(f"progress-{step}"), description=label)
                known[step] = (cast(UUID, made), now)
            elif now - known[step][1] >= _EVERY_S or done == total:
                update_progress_artifact(
                    known[step][0], share, description=markdown_text(f"{step}: {done} of {total} {remark}".strip())
                )
                known[step] = (known[step][0], now)

    return listen


def leave_artifacts(request: Request, so_far: Progressed, summary: dict[str, Any]) -> None:
    """The run's tables and its verdict, keyed by the model's name so that the UI shows their history."""
    try:
        _leave(request, so_far, summary)
    except httpx.HTTPError as error:  # the run is done and its report is on disk
        _LOG.warning("artifacts not shown: %s", error)


def _leave(request: Request, so_far: Progressed, summary: dict[str, Any]) -> None:
    name = _slug(request.name)
    if so_far.report is not None:
        create_table_artifact(
            figures_table(summary), key=f"{name}-figures", description=f"Test figures of {request.name}"
        )
    if so_far.verdict is not None:
        rules = [_shown(rule.model_dump(mode="json")) for rule in so_far.verdict.rules]
        create_table_artifact(rules, key=f"{name}-gate", description=markdown_text(so_far.verdict.reason))
    report = request.store.root / str(summary["report"])
    text = f"**{summary['verdict']}**: {markdown_text(str(summary['reason']))}\n\nReport: [{report.name}]({report.as_uri()})"
    create_markdown_artifact(text, key=f"{name}-report", description="Verdict and report")


def leave_drift(request: Request, summary: dict[str, Any]) -> None:
    """The tests of a monitor run as a table, keyed by the model's name."""
    lines = [
        {
            "what": one_line(test["name"]),
            "drift": "yes" if test["drifted"] else "no",
            "before": one_line(test["before"]),
            "now": one_line(test["after"]),
            "effect": round(test["effect"], 3),
            "p": None if test["p_holm"] is None else round(test["p_holm"], 4),
        }
        for test in summary["tests"]
    ]
    report = request.store.root / str(summary["report"])
    text = f"{markdown_text(str(summary['reason']))}. Report: {markdown_text(str(report))}"
    try:
        create_table_artifact(lines, key=f"{_slug(summary['model']['name'])}-drift", description=text)
    except httpx.HTTPError as error:
        _LOG.warning("artifacts not shown: %s", error)


def figures_table(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """One line for the test set, one for each set of modalities."""
    lines = {"test": summary["metrics"]["test"], **summary["by_modalities"]}
    return [
        {"given": name, **{metric: _rounded(value, metric) for metric, value in line.items()}}
        for name, line in lines.items()
    ]


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    """A table's line; the UI shows a cell as text, so only what cannot be seen needs care."""
    return {name: one_line(value) if isinstance(value, str) else value for name, value in line.items()}


def _rounded(value: float | None, metric: str) -> float | None:
    return None if value is None else float(figure_text(value, metric, decimals=4))


def _slug(text: str) -> str:
    """Prefect's artifact keys hold lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
