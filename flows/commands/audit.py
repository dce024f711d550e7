"""`crossmodal audit`: which labels are likely wrong, and what else is odd about the rows, before a model learns from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from flows import console
from flows.auditing import audit_manifest
from flows.commands.options import RunInput, SummaryOptions, grouped


@grouped
def audit(
    *,
    of: RunInput,
    rows: Annotated[
        int | None, typer.Option(min=1, help="Rows that the report lists to be looked at (default: audit.max_listed).")
    ] = None,
    common: SummaryOptions,
) -> None:
    """Look for wrong labels, contradictions, outliers and spurious correlations in train and val rows; nothing is trained.

    Leaves report.html, audit.json, rows.csv and corrections.csv: look through it, then retrain --corrections applies it.
    """
    asked = [] if rows is None else [f"audit.max_listed={rows}"]
    request = replace(of, overrides=[*(of.overrides or []), *asked]).request(common.store)
    with console.progress_bars():
        summary = audit_manifest(request)
    console.print_audit(summary, request.store.root, common.as_json)
