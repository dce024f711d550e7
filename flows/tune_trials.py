"""A study's trials, one after the other: settings, features, training, score; and the settings as they are, beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from data_contracts.refs import CheckpointRef
from data_contracts.training_history import Epoch
from data_contracts.tuning import TrialRef
from flows.shared_features import SharedFeatures
from tasks import progress
from tasks.config import RunConfig, with_settings
from tasks.errors import DataError, UsageError
from tasks.evaluate.trial_score import score_on_validation
from tasks.train.train import forget_training
from tasks.tune.study import MAX_ATTEMPTS, Study, Trial


class Perform(Protocol):
    """How the work of a trial is done."""

    def __call__(self, number: int, config: RunConfig, work: Callable[[], None]) -> None:
        """Does the work of the trial of this number: at once, or as a task of Prefect's."""


def perform_here(number: int, config: RunConfig, work: Callable[[], None]) -> None:
    """Does the work in this process."""
    work()


class TrialEnded(Exception):
    """Raised in the middle of a training: the trial is to go no further."""


class TrialPruned(TrialEnded):
    """It is worse than others."""


class BudgetSpent(TrialEnded):
    """Its message is the budget."""


@dataclass
class Budget:
    """What the run, and the study, may take."""

    timeout_s: float | None
    max_train_s: float | None
    clock: Callable[[], float]
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def spent(self, train_s: float) -> str | None:
        """The budget that is used up when all trials together have cost `train_s`; None where none is."""
        if self.timeout_s is not None and self.clock() - self.began >= self.timeout_s:
            return f"tune.timeout_s = {self.timeout_s:g}"
        if self.max_train_s is not None and train_s >= self.max_train_s:
            return f"tune.max_train_s = {self.max_train_s:g}"
        return None


@dataclass
class TrialStages(SharedFeatures):
    """What trials do with the features they share."""

    costs: bool
    """Whether what an answer costs is measured."""

    def score(self, config: RunConfig, checkpoint: CheckpointRef) -> TrialRef:
        """The model's figures on the validation rows."""
        with self.run_state.timed("evaluate"):
            features = self.features_of(config)
            return score_on_validation(self.valid, features, checkpoint, config, self.store, self.costs)

    def forget(self, config: RunConfig) -> None:
        """What an ended training left is gone."""
        forget_training(self.training(config), self.store)


def objective_values(scored: TrialRef, metric: str, objectives: tuple[str, ...]) -> tuple[float, ...]:
    """Of each objective. Raises DataError for a score that is not defined."""
    score = scored.metrics.get(metric)
    if score is None or not math.isfinite(score):
        raise DataError(f"{metric} is not defined on the {scored.rows} validation rows")
    values = {"score": score}
    if scored.inference is not None:
        values |= {"latency_ms": scored.inference.row_ms, "size_mb": scored.inference.size_bytes / 1e6}
    return tuple(values[name] for name in objectives)


def run_trials(
    study: Study, trial_stages: TrialStages, metric: str, epoch_metric: str, budget: Budget, perform: Perform
) -> str | None:
    """Trials are tried until all are done, here and by other workers; the budget that ended it before, if one did."""
    tried = TriedSettings(study, trial_stages, metric, epoch_metric, budget)
    total = study.plan.tune.trials
    while True:
        progress.report("tune", min(study.done(), total), total, tried.said)
        if (spent := budget.spent(study.cost_s())) is not None and study.done() < total:
            return spent
        with study.next_trial(spent is None) as trial:
            if trial is not None:
                config = trial_stages.config
                perform(trial.number, config, lambda trial=trial: tried.attempt(trial))  # type: ignore[misc]
                if tried.stopped is not None:
                    return tried.stopped
                continue
        if not study.wait_for_others():
            return None


@dataclass
class TriedSettings:
    """Tries one trial after the other."""

    study: Study
    trial_stages: TrialStages
    metric: str
    epoch_metric: str
    budget: Budget
    said: str = ""
    """Of the latest trial, for a person."""
    stopped: str | None = None
    """The budget that ended a trial."""

    def attempt(self, trial: Trial) -> None:
        """The trial is complete, pruned or failed; or it waits to be taken up again, where a budget ended it.

        Raises EnvironmentFailed where the machine fails; the next run takes the trial up.
        """
        if trial.attempt > MAX_ATTEMPTS:
            trial.fail(f"it was begun {MAX_ATTEMPTS} times, and ended each time before an epoch was done")
        elif self.study.repeats_pruned(trial):
            trial.prune()
        else:
            try:
                self._try(trial)
            except TrialPruned:
                trial.prune()
                self.trial_stages.forget(self._config(trial))
                self._say(f"trial {trial.number} pruned")
            except BudgetSpent as spent:
                trial.note_cost()
                self.stopped = str(spent)
            except (DataError, UsageError) as error:  # of these settings: a loss that is not finite, say
                trial.fail(str(error))
                self._say(f"trial {trial.number} failed: {error}")

    def _try(self, trial: Trial) -> None:
        config = self._config(trial)
        others_s = self.study.cost_s(apart_from=trial.number)

        def hear(epoch: Epoch) -> None:
            """The study knows the epoch; raises TrialEnded where the trial is to go no further."""
            worse = trial.hear(epoch, self.epoch_metric)
            if epoch.epoch >= self.study.plan.epochs:  # it is as good as done
                return
            if worse:
                raise TrialPruned
            if (spent := self.budget.spent(others_s + trial.train_s)) is not None:
                raise BudgetSpent(spent)

        with progress.listening_to_epochs(hear):
            checkpoint = self.trial_stages.train(config)
        scored = self.trial_stages.score(config, checkpoint)
        objectives = self.study.plan.tune.objectives
        values = objective_values(scored, self.metric, objectives)
        trial.complete(values)
        shown = ", ".join(
            f"{self.metric if name == 'score' else name} {value:.4g}"
            for name, value in zip(objectives, values, strict=True)
        )
        self._say(f"trial {trial.number}: {shown}")

    def _config(self, trial: Trial) -> RunConfig:
        return with_settings(self.trial_stages.config, trial.settings)

    def _say(self, text: str) -> None:
        self.said = text
        progress.log(f"tune: {text}")


def require_results(study: Study, stopped: str | None) -> None:
    """Raises UsageError where the budget ended the run before a trial was complete, DataError where all trials failed."""
    trials = study.records()
    if any(trial.state == "complete" for trial in trials):
        return
    if stopped is not None:
        raise UsageError(f"tune: no trial was complete within {stopped}; allow more: it resumes where it stopped")
    reasons = [trial.reason for trial in trials if trial.reason]
    raise DataError(
        f"tune: none of {len(trials)} trials could be trained; the first failed as: {reasons[0] if reasons else '?'}"
    )
