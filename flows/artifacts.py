"""What a run leaves in the Prefect UI: its plan, its verdict, its figures, the gate's table, what was reused, what became of
the rows.

The keys are the same for every model: `plan`, which is the first, then `verdict`, `metrics`, `gate`, `work`, `data`. A key is
one line on the page of all artifacts, and its history there is that of all runs; each entry names its model. A model's own
history is the registry's.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from urllib.parse import quote

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from data_contracts.run_summary import RunSummary
from flows.environment import pages_url_from_environment
from flows.request import Request
from flows.results import reasons_of
from flows.run_state import RunState
from flows.summary import start_notes
from tasks.display_table import DisplayTable
from tasks.escaping import markdown_text, one_line
from tasks.holdout_reuse import describe_uses
from tasks.reporting.run_tables import drift_table, gate_table, metrics_table, rows_table, work_table

_LOG = logging.getLogger("prefect.crossmodal")
TITLES = {
    "promote": "Promoted",
    "reject": "Rejected",
    "inconclusive": "Inconclusive",
    "needs-approval": "Needs approval",
    "unchanged": "Unchanged",
    None: "Failed",
}


def leave_artifacts(request: Request, run_state: RunState, summary: RunSummary) -> None:
    """The run's artifacts are in the Prefect UI, those of a failed run too, as far as it came."""
    name = markdown_text(request.name)
    title = TITLES.get(summary.verdict, str(summary.verdict))
    with _warning_if_unreachable():
        create_markdown_artifact(verdict_text(request, summary), key="verdict", description=f"{name}: {title}")
    if run_state.clean is not None:
        reasons = reasons_of(request.store, run_state.clean, run_state.valid)
        leave_table("data", rows_table(summary, reasons), f"{name}: what became of the rows")
        begun = "".join(f". {markdown_text(text)}" for text in start_notes(run_state, request.store)[:1])
        leave_table("work", work_table(run_state), f"{name}: what was computed, what was reused{begun}")
    if run_state.report is not None:
        leave_table("metrics", metrics_table(summary), f"{name}: figures on {run_state.report.rows:,} test rows")
    if run_state.verdict is not None:
        gate_reason = run_state.verdict.reason.replace(
            "promoted: ", "passes the gate: ", 1
        )  # it may wait for approval yet
        reuse = describe_uses(run_state.test_uses)
        leave_table(
            "gate",
            gate_table(run_state.verdict),
            f"{name}: {markdown_text('. '.join(filter(None, (gate_reason, reuse))))}",
        )


def leave_drift(request: Request, summary: RunSummary) -> None:
    """The tests of a monitor run as a table, with the key `drift`."""
    name, reason = (
        markdown_text(str(summary.model.name if summary.model else request.name)),
        markdown_text(str(summary.reason)),
    )
    text = f"{name}: {reason}. {report_link(request, summary)}"
    leave_table("drift", drift_table(summary.tests or ()), text)


def leave_counts(key: str, name: str, request: Request, summary: RunSummary) -> None:
    """What a study found, counted, as a table with this key; above it its reason and a link to the report.

    `name`: whose study it is.
    """
    text = f"{markdown_text(name)}: {markdown_text(str(summary.reason))}. {report_link(request, summary)}"
    counts = DisplayTable.of({"what": kind, "count": count} for kind, count in (summary.found or {}).items())
    leave_table(key, counts, text)


def leave_table(key: str, table: DisplayTable, description: str) -> None:
    """The table is an artifact of the flow run, where the server takes it. `description` is Markdown."""
    with _warning_if_unreachable():
        create_table_artifact(table.as_records(), key=key, description=description)


@contextlib.contextmanager
def _warning_if_unreachable() -> Iterator[None]:
    """A server that is gone does not fail the run, which is done and whose report is on disk."""
    try:
        yield
    except httpx.HTTPError as error:
        _LOG.warning("artifacts not shown: %s", error)


def verdict_text(request: Request, summary: RunSummary) -> str:
    """Markdown: the verdict first, then why, then the model and where the report is."""
    version = f" version {summary.model.version}" if summary.model and summary.model.version else ""
    lines = [
        f"# {TITLES.get(summary.verdict, str(summary.verdict))}: {markdown_text(request.name)}{version}",
        markdown_text(str(summary.reason)),
        report_link(request, summary),
    ]
    return "\n\n".join(lines)


def report_link(request: Request, summary: RunSummary) -> str:
    """A link to the report where something serves it, else its path as text: no browser follows a `file:` link."""
    if not summary.report:
        return "No report was written."
    pages = pages_url_from_environment()
    if pages is not None and summary.report.startswith("runs/"):
        return f"[Report]({pages.rstrip('/')}/{quote(summary.report)})"
    return f"Report: `{one_line(str(request.store.root / summary.report)).replace('`', '')}`"
