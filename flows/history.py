"""The runs of a store, refused and failed ones too: read from what each left in its folder. Loads nothing heavy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from data_contracts.refs import Decision
from data_contracts.run_record import RunRecord, Status
from data_contracts.run_refs import RunRefs
from data_contracts.run_summary import Finding, ModelSummary, RunSummary
from flows.records import CONFIG, LOCK, REFS, RUN, RunStart
from flows.request import Request
from tasks import locks
from tasks.config import RunConfig
from tasks.encoder_choice import open_modalities, with_encoders
from tasks.errors import EnvironmentFailed, UsageError
from tasks.escaping import one_line
from tasks.reporting.run_history import point_of, write_history
from tasks.store import Store

RUNS = "runs"
HISTORY = "history"
ENDINGS: tuple[str, ...] = (*get_args(Decision), *get_args(Finding), *get_args(Status))
"""What a list of runs can be narrowed to."""


def list_runs(
    store_root: str | Path, model: str | None = None, verdict: str | None = None, limit: int | None = None
) -> list[RunRecord]:
    """The runs of a store, newest first. `verdict`: one of ENDINGS."""
    folders = [path for path in (Path(store_root) / RUNS).glob("*") if path.is_dir() and path.name != HISTORY]
    records = sorted(
        (_read(folder) for folder in folders), key=lambda record: (record.started, record.run), reverse=True
    )
    chosen = [
        record
        for record in records
        if (model is None or record.model == model) and (verdict is None or verdict in (record.verdict, record.status))
    ]
    return chosen[:limit]


def find_run(store_root: str | Path, run: str) -> RunRecord:
    """The run of that id, or the only one whose id begins or ends so. UsageError where there is none, or more than one."""
    known = list_runs(store_root)
    exact = [record for record in known if record.run == run]
    near = exact or [record for record in known if run and (record.run.startswith(run) or record.run.endswith(run))]
    if len(near) != 1:
        problem = "several runs of that id" if near else "no such run"
        listed = ", ".join(record.run for record in (near or known)[:3]) or "none"
        raise UsageError(f"run {run!r}: {problem} in {Path(store_root) / RUNS} ({listed}); see crossmodal runs list")
    return near[0]


def run_refs(store: Store, run: str) -> RunRefs:
    """What a run's stages handed on. EnvironmentFailed where it ended before there were any."""
    return RunRefs.model_validate(_json(store, run, REFS))


def runs_of_verdict(store: Store, run: str, model: str, verdict: str) -> list[RunRecord]:
    """The other runs of the model that came to the verdict of this store path, newest first."""
    others = (record for record in list_runs(store.root, model) if record.run != run)
    return [record for record in others if _verdict_of(store, record.run) == verdict]


def repeated_run(records: Iterable[RunRecord]) -> str | None:
    """The first of these runs that has a whole report; None where there is none."""
    return next((record.run for record in records if record.report and record.repeats is None), None)


def _verdict_of(store: Store, run: str) -> str | None:
    verdict = (_optional(store.root / RUNS / run / REFS) or {}).get("verdict") or {}
    found: str | None = verdict.get("uri")
    return found


def run_config(store: Store, run: str) -> RunConfig:
    """The resolved config of a run, with the encoders that it chose where it was to. EnvironmentFailed where it is not there or
    is another release's."""
    try:
        config = RunConfig.model_validate(_json(store, run, CONFIG))
    except ValidationError as error:
        first = error.errors()[0]
        raise EnvironmentFailed(
            f"run {run}: {CONFIG} is of another release ({'.'.join(map(str, first['loc']))}: {first['msg']}); retrain anew"
        ) from None
    choice = run_refs(store, run).encoder_choice if open_modalities(config) else None
    return config if choice is None else with_encoders(config, choice.encoders)


def _json(store: Store, run: str, name: str) -> Any:
    path = store.root / RUNS / run / name
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise EnvironmentFailed(
                f"run {run}: is not in {path.parent.parent}; it was another machine's or store's, or is deleted"
            ) from None
        raise EnvironmentFailed(f"run {run}: left no {name}: it ended before it began") from None
    except (OSError, ValueError, RecursionError) as error:
        raise EnvironmentFailed(f"run {run}: {path} cannot be read ({error})") from None


def _read(folder: Path) -> RunRecord:
    try:
        start = _optional(folder / RUN)
        summary = _summary(folder)
        refs = RunRefs.model_validate(_optional(folder / REFS) or {})
        return _record(folder, None if start is None else RunStart.model_validate(start), summary, refs)
    except (
        OSError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # what lies there was written by anything
        reason = f"{type(error).__name__}: {one_line(str(error), 200)}"
        return RunRecord(run=folder.name, status="unreadable", reason=reason, started=_changed(folder))


def _optional(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _summary(folder: Path) -> RunSummary | None:
    found = _optional(folder / "summary.json")
    return None if found is None else RunSummary.model_validate(found)


def _changed(folder: Path) -> datetime:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


def _record(folder: Path, start: RunStart | None, summary: RunSummary | None, refs: RunRefs) -> RunRecord:
    known = summary or RunSummary()
    model = known.model or ModelSummary()
    report = folder / "report.html"
    return RunRecord(
        run=folder.name,
        flow=known.flow or (start and start.flow),
        status=_status(folder, start, summary),
        verdict=known.verdict or known.finding,
        reason=known.error or known.reason or (start and start.error),
        model=model.name or (start and start.model),
        version=model.version,
        sha256=model.sha256,
        started=start.started if start else _changed(folder),
        finished=start.finished if start else None,
        data=start.data if start else None,
        data_sha256=refs.raw.sha256 if refs.raw else None,
        labels=refs.clean.labels if refs.clean else (),
        rows=summary.rows.counts() if summary else {},
        splits={**summary.splits} if summary else {},
        metrics=known.metrics.get("test", {}),
        intervals=refs.report.intervals if refs.report else {},
        seconds=summary.seconds if summary else {},
        git_commit=start.git_commit if start else None,
        prefect_run_id=start.prefect_run_id if start else None,
        report=f"{RUNS}/{folder.name}/report.html" if report.is_file() else None,
        repeats=known.repeats,
    )


def _status(folder: Path, start: RunStart | None, summary: RunSummary | None) -> Status:
    if summary is not None:
        return "failed" if summary.error else "completed"
    if start is None:
        return "unreadable"
    if start.finished is not None:
        return "failed"
    return "running" if locks.is_held(folder / LOCK) else "crashed"


def history_page(store_root: str | Path, model: str) -> Path:
    """Where the page of a model's history lies."""
    return Path(store_root) / RUNS / HISTORY / f"{model}.html"


def write_history_page(store_root: str | Path, model: str, out: Path | None = None) -> Path:
    """The page of a model's history is at `out`, or in its place in the store; UsageError for a model without runs."""
    records = [record for record in list_runs(store_root, model) if record.flow == "retrain"]
    if not records:
        raise UsageError(f"model {model!r}: no run of it in {Path(store_root) / RUNS}; see crossmodal runs list")
    path = out or history_page(store_root, model)
    root = Path(store_root).absolute()
    folder = path.absolute().parent
    links = [record.report and os.path.relpath(root / record.report, folder) for record in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_history(path, model, [point_of(*run) for run in zip(reversed(records), reversed(links), strict=True)])
    return path


def leave_history(request: Request) -> None:
    """The model's history page holds this run, too."""
    write_history_page(request.store.root, request.name)
