"""The summary of a run: the JSON that scripts rely on, and the files beside it. Written for failed runs too."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow.parquet as pq

from data_contracts.refs import Floor, Split
from flows.pipeline import Progressed
from flows.request import Request
from flows.results import quarantine_of
from tasks.ingest.ingest import quarantine_csv
from tasks.store import replace_file

NO_SPLITS: dict[Split, int] = {"train": 0, "val": 0, "test": 0}
STAGES = ("ingest", "validate", "extract", "train", "evaluate", "publish", "total")


def summarise(request: Request, so_far: Progressed, flow: str, error: str | None = None) -> dict[str, Any]:
    """The run's summary (DESIGN.md, "The command line"); what the run did not get to is None or zero."""
    summary: dict[str, Any] = {
        "run": request.run_id,
        "flow": flow,
        "data": request.config.data.path,
        "verdict": None if error else so_far.decision,
        "reason": error or so_far.reason,
        "model": model_of(request, so_far),
        "rows": rows_of(so_far),
        "splits": dict(so_far.splits or (so_far.clean.splits if so_far.clean else NO_SPLITS)),
        "metrics": so_far.report.metrics if so_far.report else {},
        "by_modalities": so_far.report.by_modalities if so_far.report else {},
        "work": {
            "computed": {name: ref.computed for name, ref in so_far.features.items()},
            "reused": {name: ref.reused for name, ref in so_far.features.items()},
        },
        "seconds": {stage: round(so_far.seconds.get(stage, 0.0), 3) for stage in STAGES},
        "report": None,
    }
    if so_far.report is not None and so_far.report.forgetting:
        summary["forgetting"] = {name: part.model_dump() for name, part in so_far.report.forgetting.items()}
    if so_far.report is not None and so_far.report.floor is not None:
        summary["floor"] = floor_of(so_far.report.floor)
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


def model_of(request: Request, so_far: Progressed) -> dict[str, Any]:
    """Name, version, alias and digest: of the release, of the champion when unchanged, else of the candidate."""
    model: dict[str, Any] = {"name": request.name, "version": None, "alias": None, "sha256": None}
    champion = so_far.champion
    if so_far.release is not None:
        release = so_far.release
        return model | {"version": release.version, "alias": release.alias, "sha256": release.model_sha256}
    judged = so_far.verdict is not None and so_far.checkpoint is None  # the champion itself, in the mode evaluate only
    if (so_far.decision == "unchanged" or judged) and champion is not None:
        alias = request.config.publish.alias
        return model | {"version": champion.version, "alias": alias, "sha256": champion.model_sha256}
    return model | {"sha256": so_far.checkpoint.model_sha256 if so_far.checkpoint else None}


def rows_of(so_far: Progressed) -> dict[str, int]:
    """in = used + quarantined + duplicates."""
    if so_far.clean is None:
        return {"in": 0, "used": 0, "quarantined": 0, "duplicates": 0}
    counts = so_far.clean.counts
    leaked = counts.used - so_far.valid.rows if so_far.valid else 0  # left out of train by split.leakage = drop
    return {
        "in": counts.rows_in,
        "used": counts.used - leaked,
        "quarantined": counts.quarantined + leaked,
        "duplicates": counts.duplicates,
    }


def write_summary(request: Request, so_far: Progressed, summary: dict[str, Any]) -> None:
    """Leaves summary.json, and the quarantine tables when there are any, in the run's folder."""
    request.folder.mkdir(parents=True, exist_ok=True)
    if so_far.clean is not None:
        table = quarantine_of(request.store, so_far.clean, so_far.valid)
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
