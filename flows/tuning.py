"""A search over settings: what `crossmodal tune` runs and flows/tune.py wraps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data_contracts.modalities import in_order
from data_contracts.refs import ValidatedRef
from data_contracts.run_summary import Finding, RunSummary, TuneSummary
from data_contracts.tuning import TUNE, TuneReport
from flows.data_stages import prepare, require_trainable
from flows.encoder_choice import choose_encoders
from flows.execute import execute_study
from flows.preflight import failure, preflight
from flows.request import Request
from flows.run_state import RunState
from flows.stages import Stages
from flows.summary import summarise, write_summary
from flows.tune_outcome import evaluate_best, make_report
from flows.tune_profile import profile_target, save_profile
from flows.tune_trials import Budget, Perform, TrialStages, perform_here, require_results, run_trials
from tasks import locks
from tasks.config import RunConfig
from tasks.encoder_choice import with_encoders
from tasks.errors import UsageError
from tasks.evaluate.rule_checks import require_rules_fit
from tasks.packages import missing_packages_named
from tasks.problems.registry import figure_text, get_metric, metric_names, problem_of
from tasks.reporting.tune_report import write_tune_page
from tasks.samples import Samples
from tasks.store import Store, digest_json, replace_file
from tasks.train.train import base_key
from tasks.tune.outcome import keep_study
from tasks.tune.space import Space, default_space, own_settings, require_valid_space, trial_config
from tasks.tune.storage import check_storage, storage_answers
from tasks.tune.study import Plan, Study, study_name

LATENCY = ("latency_ms", "size_mb")


def tune_model(
    request: Request, save: str | None = None, stages: Stages | None = None, perform: Perform = perform_here
) -> RunSummary:
    """The summary of a search that ended, its report and tune.json in the run's folder, the best settings saved as a profile.

    `save`: the name or the path of that profile; None: NAME-tuned in the store. Raises UsageError and EnvironmentFailed
    before any work for what can be known before, RunFailed where a stage refused.
    """
    target = require_ready(request, save)
    run_state = RunState()
    return execute_study(
        request,
        "tune",
        run_state,
        lambda: search(request, target, stages or Stages(), run_state, perform),
        lambda report: leave_results(request, run_state, report, target),
    )


def require_ready(request: Request, save: str | None) -> Path:
    """Where the profile will be saved, all checked that can be before data are read."""
    config, tune = request.config, request.config.tune
    if tune.search_space is not None:
        require_valid_space(tune.search_space, trial_config(config))
    target = profile_target(request, save)
    with missing_packages_named():
        import optuna  # noqa: F401 (an extra)
    check_storage(tune.storage)
    refusal = failure(preflight(request))
    if refusal is not None:
        raise refusal
    return target


def search(request: Request, target: Path, stages: Stages, run_state: RunState, perform: Perform) -> TuneReport:
    """What the search came to; the best settings are a profile, and the study is an artifact."""
    config, store = trial_config(request.config), request.store
    budget = Budget(config.tune.timeout_s, config.tune.max_train_s, run_state.clock)
    # Two workers begin together: what they share is computed once.
    with locks.held(_lock(store, config), store.lock_timeout_s, request.run_id):
        valid = run_state.valid = prepare(request, config, stages, run_state)
        samples = Samples.read(store.path(valid.uri))
        run_state.splits = samples.count_splits()
        require_trainable(samples, config.split.min_test_per_class, valid.clean.label_targets)
        require_rules_fit(config, valid, store)
        encoders = choose_encoders(valid, request, stages, run_state)
        request = replace(request, config=with_encoders(request.config, encoders))
        config = trial_config(request.config)
        metric = score_metric(config, valid)
        trial_stages = TrialStages(
            config, valid, store, stages, run_state, bool({*LATENCY} & {*config.tune.objectives})
        )
        features = run_state.features = trial_stages.features_of(config)
    space = config.tune.search_space or default_space(config, in_order(features))
    require_valid_space(space, config)
    problem = problem_of(valid.clean.label_targets[0])
    name = study_name(request.name, base_key(trial_stages.training(config), store), space, metric, config)
    with storage_answers(config.tune.storage):
        study = Study(make_plan(name, space, metric, problem.validation_metric, config), store)
        if study.plan.first is None:
            trial_stages.train(config)
        stopped = run_trials(study, trial_stages, metric, f"val_{problem.validation_metric}", budget, perform)
        require_results(study, stopped)
    with locks.held(study.folder / "outcome.lock", store.lock_timeout_s, request.run_id):
        outcome = evaluate_best(study, trial_stages)
    report = make_report(request, study, trial_stages, outcome, metric, problem.validation_metric, stopped)
    run_state.study = keep_study(report, outcome.made_from, store)
    run_state.checkpoint, run_state.report = outcome.best.checkpoint, outcome.best.report
    if report.improved:
        save_profile(target, request, report)
        return report.model_copy(update={"profile": target.stem})
    return report


def _lock(store: Store, config: RunConfig) -> Path:
    return (
        store.root
        / "work"
        / f"tune-{digest_json(config.subset('data', 'media', 'split', 'encoders', 'extract'))[:16]}.lock"
    )


def score_metric(config: RunConfig, valid: ValidatedRef) -> str:
    """The metric that trials are compared by. UsageError for one that the problem does not have."""
    problem = problem_of(valid.clean.label_targets[0])
    asked = config.gate.metric if config.tune.metric == "auto" else config.tune.metric
    metric = problem.gate_metric if asked == "auto" else asked
    if metric not in metric_names(problem.name):
        known = ", ".join(metric_names(problem.name))
        raise UsageError(f"tune.metric = {metric!r}: {problem.name} has no such metric; it has {known}")
    return metric


def make_plan(name: str, space: Space, metric: str, epoch_metric: str, config: RunConfig) -> Plan:
    """What all trials of the study have in common."""
    lower = get_metric(metric).lower_is_better
    train = config.train
    fine_tuned = train.regime in ("lora", "last-n", "full")
    return Plan(
        name=name,
        space=space,
        lower_is_better=(lower, *(True for _ in config.tune.objectives[1:])),
        report_sign=1.0 if get_metric(epoch_metric).lower_is_better == lower else -1.0,
        epochs=train.epochs + (train.head_epochs if fine_tuned else 0),
        seed=config.seed,
        tune=config.tune,
        first=own_settings(config, space),
    )


def leave_results(request: Request, run_state: RunState, report: TuneReport, target: Path) -> RunSummary:
    """The report, tune.json and the summary lie in the run's folder."""
    path = request.folder / "report.html"
    write_tune_page(path, report)
    replace_file(request.folder / TUNE, (report.model_dump_json(indent=1) + "\n").encode())
    finding: Finding = "better" if report.improved else "defaults stay"
    summary = summarise(
        request,
        run_state,
        "tune",
        report=path.relative_to(request.store.root).as_posix(),
        finding=finding,
        reason=describe(report),
        tune=in_short(report, target),
    )
    write_summary(request, run_state, summary)
    return summary


def in_short(report: TuneReport, target: Path) -> TuneSummary:
    """For summary.json."""
    best = next(trial for trial in report.trials if trial.number == report.best.trial)
    return TuneSummary(
        study=report.study,
        metric=report.metric,
        defaults=report.defaults.validation.get(report.metric),
        best=report.best.validation.get(report.metric),
        trial=report.best.trial,
        settings=best.settings,
        before={setting.name: setting.before for setting in report.settings},
        trials={state: report.count(state) for state in ("complete", "pruned", "failed", "running")},
        test_difference=report.test_difference,
        stopped=report.stopped,
        profile=str(target) if report.profile else None,
    )


def describe(report: TuneReport) -> str:
    """What came of it, as one line."""
    metric = report.metric

    def text(value: float | None, sign: bool = False) -> str:
        """A figure of the score's metric."""
        return "–" if value is None else figure_text(value, metric, sign)

    best, before = report.best.validation.get(metric), report.defaults.validation.get(metric)
    parts = [
        f"{metric} {text(best)} on {report.validation_rows:,} validation rows, {text(before)} with the settings as they were"
    ]
    found = report.test_difference.get(metric)
    if found is not None:
        value, low, high = (text(number, sign=True) for number in found)
        parts.append(f"on {report.test_rows:,} test rows, which no trial saw: {value} [{low}, {high}]")
    counts = [f"{report.count('complete')} of {len(report.trials)} trials complete", f"{report.count('pruned')} pruned"]
    counts += [f"{count} failed" for count in [report.count("failed")] if count]
    counts += [f"stopped by {report.stopped}"] if report.stopped else []
    return "; ".join([*parts, ", ".join(counts)])
