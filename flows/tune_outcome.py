"""What a search came to: the best trial and the settings as they were, on test rows that no trial saw, and the report of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from data_contracts.refs import CheckpointRef, EvalReport
from data_contracts.tuning import Difference, EvaluatedSettings, TrialRecord, TrialRef, TuneReport
from flows.request import Request
from flows.tune_trials import TrialStages
from tasks.config import RunConfig, with_settings
from tasks.evaluate.comparison import ComparisonRows
from tasks.evaluate.paired import compare_evaluations
from tasks.tune.outcome import describe_space, find_best, measure_importance
from tasks.tune.study import SAMPLER, Study


@dataclass(frozen=True)
class Evaluated:
    """Settings with their model, on validation rows and on test rows."""

    trial: TrialRecord | None
    config: RunConfig
    checkpoint: CheckpointRef
    score: TrialRef
    report: EvalReport

    def figures(self) -> EvaluatedSettings:
        """For the report."""
        return EvaluatedSettings(
            trial=None if self.trial is None else self.trial.number,
            validation=self.score.metrics,
            test=self.report.metrics["test"],
            intervals=self.report.intervals,
            inference=self.score.inference,
            model_sha256=self.checkpoint.model_sha256,
        )


@dataclass(frozen=True)
class Outcome:
    """The best trial and the settings as they were, on the test rows, which no trial saw."""

    trials: list[TrialRecord]
    best: Evaluated
    defaults: Evaluated
    difference: Mapping[str, Difference]
    note: str | None

    @property
    def made_from(self) -> tuple[TrialRef | EvalReport | CheckpointRef, ...]:
        """The artifacts that the outcome rests on."""
        return tuple(ref for one in (self.best, self.defaults) for ref in (one.checkpoint, one.score, one.report))


def evaluate_best(study: Study, trial_stages: TrialStages) -> Outcome:
    """The best trial and the settings as they were, each evaluated on the test rows, once, and compared pair by pair."""
    trials = study.records()
    best = find_best(trials, study.plan.lower_is_better)
    assert best is not None  # require_results
    own = next((trial for trial in trials if study.plan.first is not None and trial.settings == study.plan.first), None)
    chosen = _evaluate(best, with_settings(trial_stages.config, best.settings), trial_stages)
    defaults = (
        chosen if own is not None and own.number == best.number else _evaluate(own, trial_stages.config, trial_stages)
    )
    clusters = ComparisonRows.read(trial_stages.valid, trial_stages.store).cluster_of_ids
    ours, theirs = ((one.report, one.checkpoint) for one in (chosen, defaults))
    found = compare_evaluations(ours, theirs, trial_stages.store, clusters)
    differs = chosen.checkpoint.model_sha256 != defaults.checkpoint.model_sha256
    if isinstance(found, str):
        return Outcome(trials, chosen, defaults, {}, found)
    return Outcome(trials, chosen, defaults, found.differences if differs else {}, None)


def _evaluate(trial: TrialRecord | None, config: RunConfig, trial_stages: TrialStages) -> Evaluated:
    checkpoint = trial_stages.train(config)
    score = trial_stages.score(config, checkpoint)
    with trial_stages.run_state.timed("evaluate"):
        features = trial_stages.features_of(config)
        report = trial_stages.stages.evaluate(
            trial_stages.valid, features, checkpoint, None, config, trial_stages.store
        )
    return Evaluated(trial, config, checkpoint, score, report)


def make_report(
    request: Request,
    study: Study,
    trial_stages: TrialStages,
    outcome: Outcome,
    metric: str,
    epoch_metric: str,
    stopped: str | None,
) -> TuneReport:
    """All that is known of the search."""
    plan, tune = study.plan, study.plan.tune
    several = len(tune.objectives) > 1
    best, before = (one.score.metrics[metric] for one in (outcome.best, outcome.defaults))
    assert best is not None
    lower = plan.lower_is_better[0]
    improved = before is None or (best < before if lower else best > before)
    assert outcome.best.trial is not None
    importance = measure_importance(study.optuna, lower)
    notes = [*([outcome.note] if outcome.note else [])]
    if tune.epochs is not None and tune.epochs != request.config.train.epochs:
        notes.append(
            f"Every model here was trained with tune.epochs = {tune.epochs}, the settings as they were, too; a retrain trains "
            f"with train.epochs = {request.config.train.epochs}."
        )
    if request.config.train.continue_from != "none":
        notes.append("Trials start from nothing, whatever train.continue_from says.")
    return TuneReport(
        run=request.run_id,
        model=request.name,
        study=plan.name,
        metric=metric,
        objectives=tune.objectives,
        pruner="none" if several else tune.pruner,
        sampler=SAMPLER,
        seed=plan.seed,
        settings=describe_space(plan.space, trial_stages.config, outcome.best.trial, importance),
        trials=tuple(outcome.trials),
        pareto=tuple(sorted(trial.number for trial in study.optuna.best_trials)) if several else (),
        best=outcome.best.figures(),
        defaults=outcome.defaults.figures(),
        improved=improved,
        validation_rows=outcome.best.score.rows,
        test_rows=outcome.best.report.rows,
        test_difference=dict(outcome.difference),
        epoch_metric=epoch_metric,
        stopped=stopped,
        notes=tuple(notes),
    )
