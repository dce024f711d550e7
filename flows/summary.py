"""The summary of a run: the JSON that scripts rely on, and the files beside it. Written for failed runs too."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow.parquet as pq

from data_contracts.refs import Floor, Split
from flows.request import Request
from flows.results import quarantine_of
from flows.run_state import RunState
from tasks.ingest.ingest import quarantine_csv
from tasks.store import replace_file

NO_SPLITS: dict[Split, int] = {"train": 0, "val": 0, "test": 0}
STAGES = ("ingest", "validate", "extract", "train", "evaluate", "publish", "total")


def summarise(request: Request, run_state: RunState, flow: str, error: str | None = None) -> dict[str, Any]:
    """The run's summary (DESIGN.md, "The command line"); what the run did not get to is None or zero."""
    summary: dict[str, Any] = {
        "run": request.run_id,
        "flow": flow,
        "data": request.config.data.path,
        "verdict": None if error else run_state.decision,
        "reason": error or run_state.reason,
        "model": model_of(request, run_state),
        "rows": rows_of(run_state),
        "splits": dict(run_state.splits or (run_state.clean.splits if run_state.clean else NO_SPLITS)),
        "metrics": run_state.report.metrics if run_state.report else {},
        "by_modalities": run_state.report.by_modalities if run_state.report else {},
        "work": {
            "computed": {name: ref.computed for name, ref in run_state.features.items()},
            "reused": {name: ref.reused for name, ref in run_state.features.items()},
        },
        "seconds": {stage: round(run_state.seconds.get(stage, 0.0), 3) for stage in STAGES},
        "report": None,
    }
    if run_state.report is not None and run_state.report.forgetting:
        summary["forgetting"] = {name: part.model_dump() for name, part in run_state.report.forgetting.items()}
    if run_state.report is not None and run_state.report.floor is not None:
        summary["floor"] = floor_of(run_state.report.floor)
    return summary | ({"error": error} if error else {})


def empty_summary() -> dict[str, Any]:
    """The summary of a command that failed before there was a run."""
    no_rows = {"in": 0, "used": 0, "quarantined": 0, "duplicates": 0}
    return {
        "run": None,
        "flow": None,
        "data": None,
        "verdict": None,
        "reason": None,
        "model": None,
        "rows": no_rows,
        "splits": dict(NO_SPLITS),
        "metrics": {},
        "by_modalities": {},
        "work": {"computed": {}, "reused": {}},
        "seconds": dict.fromkeys(STAGES, 0.0),
        "report": None,
    }


def floor_of(floor: Floor) -> dict[str, Any]:
    """The linear floor's figures on the test rows; `ahead` is the model's accuracy minus its."""
    figures = {name: floor.metrics.get(name) for name in ("accuracy", "macro_f1")}
    ahead = floor.differences.get("accuracy")
    return {
        **figures,
        "ahead": ahead[0] if ahead else None,
        "c": floor.c,
        "rows": floor.rows,
        "notes": list(floor.notes),
    }


def model_of(request: Request, run_state: RunState) -> dict[str, Any]:
    """Name, version, alias and digest: of the release, of the champion when unchanged, else of the candidate."""
    model: dict[str, Any] = {"name": request.name, "version": None, "alias": None, "sha256": None}
    champion = run_state.champion
    if run_state.release is not None:
        release = run_state.release
        return model | {"version": release.version, "alias": release.alias, "sha256": release.model_sha256}
    judged = (
        run_state.verdict is not None and run_state.checkpoint is None
    )  # the champion itself, in the mode evaluate only
    if (run_state.decision == "unchanged" or judged) and champion is not None:
        alias = request.config.publish.alias
        return model | {"version": champion.version, "alias": alias, "sha256": champion.model_sha256}
    return model | {"sha256": run_state.checkpoint.model_sha256 if run_state.checkpoint else None}


def rows_of(run_state: RunState) -> dict[str, int]:
    """in = used + quarantined + duplicates."""
    if run_state.clean is None:
        return {"in": 0, "used": 0, "quarantined": 0, "duplicates": 0}
    counts = run_state.clean.counts
    leaked = counts.used - run_state.valid.rows if run_state.valid else 0  # left out of train by split.leakage = drop
    return {
        "in": counts.rows_in,
        "used": counts.used - leaked,
        "quarantined": counts.quarantined + leaked,
        "duplicates": counts.duplicates,
    }


def write_summary(request: Request, run_state: RunState, summary: dict[str, Any]) -> None:
    """Leaves summary.json, and the quarantine tables when there are any, in the run's folder."""
    request.folder.mkdir(parents=True, exist_ok=True)
    if run_state.clean is not None:
        table = quarantine_of(request.store, run_state.clean, run_state.valid)
        pq.write_table(table, request.folder / "quarantine.parquet", compression="zstd")
        replace_file(request.folder / "quarantine.csv", quarantine_csv(table).encode())
    text = json.dumps(without_nan(summary), indent=1, ensure_ascii=False, allow_nan=False)
    replace_file(request.folder / "summary.json", text.encode())


def without_nan(value: Any) -> Any:
    """The same JSON value with every NaN and infinity as None: JSON has no such numbers."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
