"""What MLflow's page of a model version says: figures, data, how to load it. Markdown, a few lines."""

from __future__ import annotations

import math

from data_contracts.refs import EvalReport, ValidatedRef, Verdict
from tasks.display_table import DisplayTable
from tasks.escaping import markdown_text
from tasks.problems.metric import TOO_FEW_ROWS
from tasks.problems.registry import figure_text, get_problem, metric_names


def describe_version(name: str, alias: str, verdict: Verdict, report: EvalReport, valid: ValidatedRef) -> str:
    """The description of a version. It names no version: that is known only once it was registered with it."""
    counts, splits = valid.clean.counts, valid.clean.splits
    divided = ", ".join(f"{split} {rows:,}" for split, rows in splits.items())
    gate_reason = verdict.reason.replace("promoted: ", "Passes the gate: ", 1)  # it may wait for approval yet
    return (
        f"{markdown_text(gate_reason)}\n\n{figures_table(report)}\n\n"
        f"**Data.** {counts.used:,} of {counts.rows_in:,} rows used ({counts.quarantined:,} quarantined, "
        f"{counts.duplicates:,} duplicates): {divided}. Samples: sha256 `{valid.sha256[:16]}`.\n\n"
        f'**Load.** `crossmodal.load("{name}@{alias}")`, `crossmodal predict MANIFEST --model {name}@{alias}`, or '
        f'`mlflow.pyfunc.load_model("models:/{name}@{alias}")`, once the alias points here. '
        "The model card is among its artifacts, the report among those of its run.\n"
    )


def describe_model(name: str, report: EvalReport, valid: ValidatedRef) -> str:
    """The description of a registered model."""
    what = f"{get_problem(report.problem).model_noun} from {', '.join(valid.clean.modalities)}"
    return f"{what}, retrained by crossmodal. `crossmodal models show {name}` lists its versions."


def figures_table(report: EvalReport) -> str:
    """The test figures as a Markdown table, beside the champion's where there was one."""
    figures, theirs = report.metrics["test"], report.champion_metrics
    rows = []
    for name in metric_names(report.problem):
        if name not in figures:
            continue
        low, high = report.intervals.get(name, (math.nan, math.nan))
        interval = (
            f"{_format_figure(low, name)} to {_format_figure(high, name)}"
            if math.isfinite(low) and math.isfinite(high)
            else None
        )
        if interval is None and figures[name] is not None:
            interval = TOO_FEW_ROWS
        champion = {"champion": _format_figure(theirs.get(name), name)} if theirs else {}
        value = _format_figure(figures[name], name)
        rows.append({"metric": name, f"{report.rows:,} test rows": value, "95 % interval": interval, **champion})
    return DisplayTable.of(rows).as_markdown()


def _format_figure(value: float | None, metric: str) -> str | None:
    return None if value is None or not math.isfinite(value) else figure_text(value, metric)
