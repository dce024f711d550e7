"""Runs the pipeline to its end, whatever the end: the summary, the quarantine and the report are left in the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from data_contracts.run_record import RunRecord
from data_contracts.run_summary import Finding, PreflightCheck, RunSummary
from flows.collecting import collect_after_run
from flows.encoder_choice import resolved
from flows.environment import run_tags
from flows.history import RUNS, leave_history, repeated_run, runs_of_verdict
from flows.pipeline import evaluate_champion, run_pipeline
from flows.preflight import failure, preflight
from flows.records import recorded
from flows.refresh import refreshing
from flows.request import Mode, Request
from flows.run_failed import RunFailed
from flows.run_state import RunState
from flows.stages import Stages
from flows.summary import summarise, write_summary
from tasks import progress, run_log
from tasks.drafts import full_disk, is_full_disk
from tasks.errors import CrossmodalError, EnvironmentFailed, TooManyQuarantined, UsageError
from tasks.packages import missing_package
from tasks.reporting.artifacts import read_history
from tasks.shared_files import link_equal_files, link_folder

R = TypeVar("R")


def execute(
    request: Request,
    stages: Stages,
    run_state: RunState | None = None,
    mode: Mode = "full",
    checks: list[PreflightCheck] | None = None,
) -> RunSummary:
    """The summary of a completed run. Raises RunFailed, with the summary of what is known, when a stage refused.

    In the mode `evaluate only` the champion is evaluated instead of a new model. `checks`: the preflight, where it was made.
    """
    run_state = run_state or RunState()
    pipeline = evaluate_champion if mode == "evaluate only" else run_pipeline

    def work() -> None:
        """The pipeline has run, filling `run_state`; raises the first check of the preflight that failed."""
        error = failure(preflight(request) if checks is None else checks)
        if error is not None:
            raise error
        pipeline(request, refreshing(stages, request), run_state)
        measure_cost(resolved(request, run_state), run_state)

    with recorded(request, "retrain", run_state):
        error = attempt(work, run_state)
        request = resolved(request, run_state)
        summary = leave_results(request, run_state, "retrain", error)
        record(request, run_state, summary)
    if summary.repeats is not None:
        for run in {summary.repeats, earlier_runs(request, run_state)[0].run}:
            link_equal_files(request.store.root / RUNS / run, request.folder)
    leave_history(request)
    collect_after_run(request)
    run_log.log_end(summary.verdict, summary.reason, summary.error, run_state.seconds["total"])
    if error is not None:
        raise RunFailed(error, summary) from error
    return summary


def measure_cost(request: Request, run_state: RunState) -> None:
    """Inference cost is known of a model that this run evaluated: of another the time would be for nothing."""
    valid, checkpoint, report = run_state.valid, run_state.checkpoint, run_state.report
    if valid is None or checkpoint is None or report is None or run_state.reused(report):
        return
    from tasks.evaluate.inference_cost import measure_inference  # which needs torch, as the evaluation did

    with run_state.timed("evaluate"):
        run_state.inference = measure_inference(checkpoint, valid, run_state.features, request.config, request.store)


def record(request: Request, run_state: RunState, summary: RunSummary) -> None:
    """The run is logged to MLflow. It has ended, and its report is on disk: where MLflow fails now, the log says so."""
    from tasks.publish.tracking import RunRecord, record_run

    history = read_history(run_state.checkpoint, request.store)
    run = RunRecord(
        name=request.name,
        run_id=request.run_id,
        config=request.config,
        decision=summary.verdict,
        reason=str(summary.reason),
        error=summary.error,
        rows=summary.rows.counts(),
        seconds=summary.seconds,
        tags=run_tags(request),
        folder=request.folder,
        valid=run_state.valid,
        checkpoint=run_state.checkpoint,
        report=run_state.report,
        verdict=run_state.verdict,
        epochs=history.epochs if history else (),
        repeats=summary.repeats,
        under_prefect=request.prefect_run_id is not None,
    )
    try:
        record_run(run, request.store, request.tracking_uri)
    except EnvironmentFailed as error:
        run_log.log_tracking_failed(str(error))


def attempt(work: Callable[[], object], run_state: RunState) -> CrossmodalError | None:
    """Does the work and returns the error with which it ended, if any; a wrong path or column is raised: no run to report."""
    with run_state.timed("total"):
        try:
            work()
        except UsageError:
            raise
        except TooManyQuarantined as refusal:
            run_state.clean = refusal.clean
            return refusal
        except CrossmodalError as refusal:
            return refusal
        except (OSError, MemoryError, ModuleNotFoundError) as failure:
            error = _environment_failed(failure)
            if error is None:
                raise
            error.__cause__ = failure
            return error
    return None


def execute_study(
    request: Request, flow: str, run_state: RunState, study: Callable[[], R], leave: Callable[[R], RunSummary]
) -> RunSummary:
    """The summary that `leave` makes of what a study found; while it runs, and at its end, it is recorded as a run of `flow`.

    Raises RunFailed where a stage refused, with the summary of what was done until then.
    """
    found: list[R] = []
    with recorded(request, flow, run_state):
        error = attempt(lambda: found.append(study()), run_state)
        request.folder.mkdir(parents=True, exist_ok=True)
        if error is not None:
            summary = summarise(request, run_state, flow, str(error))
            write_summary(request, run_state, summary)
            raise RunFailed(error, summary) from error
        return leave(found[0])


def _environment_failed(failure: OSError | MemoryError | ModuleNotFoundError) -> EnvironmentFailed | None:
    if isinstance(failure, ModuleNotFoundError):
        return missing_package(failure)
    if is_full_disk(failure):
        return full_disk(failure)
    return EnvironmentFailed(f"{type(failure).__name__}: {failure}; start the run again: it resumes")


def earlier_runs(request: Request, run_state: RunState) -> list[RunRecord]:
    """The runs that an unchanged run repeats, newest first: those that came to the same verdict. Of any other run none."""
    if run_state.decision != "unchanged" or run_state.verdict is None:
        return []
    return runs_of_verdict(request.store, request.run_id, request.name, run_state.verdict.uri)


def leave_results(
    request: Request, run_state: RunState, flow: str, error: CrossmodalError | None, finding: Finding | None = None
) -> RunSummary:
    """The run's summary; report.html, Data Docs, summary.json and the quarantine lie in the run's folder."""
    from tasks.reporting.confusion_matrix import write_confusion
    from tasks.reporting.report import write_report

    progress.report("report", 0, 1)
    path = request.folder / "report.html"
    repeats = None if error else repeated_run(earlier_runs(request, run_state))
    summary = summarise(
        request,
        run_state,
        flow,
        str(error) if error else None,
        report=path.relative_to(request.store.root).as_posix(),
        finding=finding,
        repeats=repeats,
    )
    request.folder.mkdir(parents=True, exist_ok=True)
    for table, uri in run_state.docs.items() if repeats is None else ():
        link_folder(request.store.path(uri), request.folder / "docs" / table)
    write_report(path, summary, request.config, request.store, run_state)
    if repeats is None:
        write_confusion(request.folder / "confusion.svg", run_state.report, request.store)
    write_summary(request, run_state, summary)
    progress.report("report", 1, 1)
    return summary
