"""What a run leaves in the Prefect UI: its verdict, its figures, the gate's table, what was reused, what became of the rows.

The keys are the same for every model: `verdict`, `metrics`, `gate`, `plan`, `data`. A key is one line on the page of all
artifacts, and its history there is that of all runs; each entry names its model. A model's own history is the registry's.
"""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

import httpx
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from data_contracts.refs import RuleResult, Verdict
from flows.environment import pages_url_from_environment
from flows.request import Request
from flows.results import reasons_of
from flows.run_state import RunState
from flows.summary import STAGES
from tasks.escaping import markdown_text, one_line
from tasks.number_format import figure_text

_LOG = logging.getLogger("prefect.crossmodal")
Row = dict[str, Any]
TITLES = {
    "promote": "Promoted",
    "reject": "Rejected",
    "inconclusive": "Inconclusive",
    "needs-approval": "Needs approval",
    "unchanged": "Unchanged",
    None: "Failed",
}


def leave_artifacts(request: Request, run_state: RunState, summary: dict[str, Any]) -> None:
    """The run's artifacts are in the Prefect UI, those of a failed run too, as far as it came."""
    try:
        _leave(request, run_state, summary)
    except httpx.HTTPError as error:  # the run is done and its report is on disk
        _LOG.warning("artifacts not shown: %s", error)


def _leave(request: Request, run_state: RunState, summary: dict[str, Any]) -> None:
    name = markdown_text(request.name)
    title = TITLES.get(summary["verdict"], str(summary["verdict"]))
    create_markdown_artifact(verdict_text(request, summary), key="verdict", description=f"{name}: {title}")
    if run_state.clean is not None:
        rows = data_rows(summary, reasons_of(request.store, run_state.clean, run_state.valid))
        create_table_artifact(rows, key="data", description=f"{name}: what became of the rows")
    if run_state.clean is not None:
        create_table_artifact(
            plan_rows(run_state), key="plan", description=f"{name}: what was computed, what was reused"
        )
    if run_state.report is not None:
        create_table_artifact(
            metric_rows(summary), key="metrics", description=f"{name}: figures on {run_state.report.rows:,} test rows"
        )
    if run_state.verdict is not None:
        judged = run_state.verdict.reason.replace("promoted: ", "passes the gate: ", 1)  # it may wait for approval yet
        create_table_artifact(gate_rows(run_state.verdict), key="gate", description=f"{name}: {markdown_text(judged)}")


def leave_drift(request: Request, summary: dict[str, Any]) -> None:
    """The tests of a monitor run as a table, with the key `drift`."""
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
    name, reason = markdown_text(summary["model"]["name"]), markdown_text(str(summary["reason"]))
    text = f"{name}: {reason}. {told_report(request, summary)}"
    try:
        create_table_artifact(lines, key="drift", description=text)
    except httpx.HTTPError as error:
        _LOG.warning("artifacts not shown: %s", error)


def verdict_text(request: Request, summary: dict[str, Any]) -> str:
    """Markdown: the verdict first, then why, then the model and where the report is."""
    model = summary["model"] or {}
    version = f" version {model['version']}" if model.get("version") else ""
    lines = [
        f"# {TITLES.get(summary['verdict'], str(summary['verdict']))}: {markdown_text(request.name)}{version}",
        markdown_text(str(summary["reason"])),
        told_report(request, summary),
    ]
    return "\n\n".join(lines)


def told_report(request: Request, summary: dict[str, Any]) -> str:
    """A link to the report where something serves it, else its path as text: no browser follows a `file:` link."""
    if not summary["report"]:
        return "No report was written."
    pages = pages_url_from_environment()
    if pages is not None and str(summary["report"]).startswith("runs/"):
        return f"[Report]({pages.rstrip('/')}/{quote(str(summary['report']))})"
    return f"Report: `{one_line(str(request.store.root / summary['report'])).replace('`', '')}`"


def metric_rows(summary: dict[str, Any]) -> list[Row]:
    """One line for the test set, one for each set of modalities, rounded."""
    lines = {"all": summary["metrics"]["test"], **summary["by_modalities"]}
    names = dict.fromkeys(metric for line in lines.values() for metric in line)
    return [
        {"given": given, **{metric: _rounded(line.get(metric), metric) for metric in names}}
        for given, line in lines.items()
    ]


def gate_rows(verdict: Verdict) -> list[Row]:
    """One line a rule, led by its outcome and the sentence that explains it."""
    return [_gate_row(rule) for rule in verdict.rules]


def _gate_row(rule: RuleResult) -> Row:
    return {
        "outcome": rule.outcome,
        "sentence": one_line(rule.detail),
        "rule": one_line(rule.rule),
        "value": _rounded(rule.value, rule.metric),
        "threshold": _rounded(rule.threshold, rule.metric),
        "baseline": one_line(rule.baseline),
        "n": rule.n,
    }


def plan_rows(run_state: RunState) -> list[Row]:
    """One line a stage: computed or reused, how many samples, and its seconds."""
    results = {"ingest": run_state.clean, "train": run_state.checkpoint, "evaluate": run_state.report}
    rows: list[Row] = []
    for stage in STAGES[:-1]:
        if stage == "extract":
            rows += [
                {"stage": f"extract {ref.modality}", "computed": ref.computed, "reused": ref.reused, "seconds": None}
                for ref in run_state.features.values()
            ]
            rows += [{"stage": stage, "computed": None, "reused": None, "seconds": _seconds(run_state, stage)}]
        elif stage in results and (ref := results[stage]) is not None:
            reused = run_state.reused(ref)
            counts = {"computed": 0 if reused else ref.rows, "reused": ref.rows if reused else 0}
            rows.append({"stage": stage, **counts, "seconds": _seconds(run_state, stage)})
        elif stage in run_state.seconds:
            rows.append({"stage": stage, "computed": None, "reused": None, "seconds": _seconds(run_state, stage)})
    return rows


def data_rows(summary: dict[str, Any], reasons: dict[str, int]) -> list[Row]:
    """How many rows were read, used, quarantined for each reason, dropped, and how the used ones were divided."""
    rows, splits = summary["rows"], summary["splits"]
    lines = [("read", rows["in"]), ("used", rows["used"])]
    lines += [(f"used: {name}", count) for name, count in splits.items()]
    lines += [("duplicates", rows["duplicates"]), ("quarantined", rows["quarantined"])]
    lines += [
        (f"quarantined: {one_line(name)}", count)
        for name, count in sorted(reasons.items(), key=lambda r: (-r[1], r[0]))
    ]
    return [{"rows": name, "count": count} for name, count in lines]


def _seconds(run_state: RunState, stage: str) -> float:
    return round(run_state.seconds.get(stage, 0.0), 1)


def _rounded(value: float | None, metric: str) -> float | None:
    return None if value is None else float(figure_text(value, metric, decimals=4))
