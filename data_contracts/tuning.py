"""tune.json: what a search over settings tried and found. It lies in the run's folder, and as a study in the store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from data_contracts.refs import CheckpointRef, Frozen, Metrics, Ref
from data_contracts.run_summary import InferenceSummary

TUNE, TRIAL = "tune.json", "trial.json"
Value = bool | int | float | str
State = Literal["complete", "pruned", "failed", "running"]
Difference = tuple[float, float, float]
"""Value, low, high."""


class TrialRef(Ref):
    """A trained model of a study, evaluated on the validation rows; `rows` is their number. trial.json lies at `uri`."""

    checkpoint: CheckpointRef
    metrics: Metrics
    """On the validation rows."""
    inference: InferenceSummary | None = None
    """Inference cost, where the study asks for it: measured once, on validation rows."""


class SearchedSetting(Frozen):
    """One setting of the search space."""

    name: str
    """`train.learning_rate`."""
    kind: Literal["float", "int", "categorical"]
    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    before: Value | None
    """As the profile has it; None: not set there."""
    best: Value | None = None
    """In the best trial."""
    importance: float | None = None
    """Share of what the settings explain of the score (PED-ANOVA); None: too few trials."""


class TrialRecord(Frozen):
    """One trial."""

    number: int
    state: State
    settings: dict[str, Value]
    values: tuple[float, ...] = ()
    """Of the objectives, in their order; a pruned trial has none."""
    epochs: tuple[float, ...] = ()
    """The problem's validation metric after each epoch that was trained."""
    train_s: float = 0.0
    reason: str | None = None
    """Why it failed."""


class EvaluatedSettings(Frozen):
    """A model with its figures."""

    trial: int | None
    """None: not among the trials, as its settings lie outside the search space."""
    validation: Metrics
    test: Metrics
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Of the test figures."""
    inference: InferenceSummary | None = None
    model_sha256: str


class TuneReport(Frozen):
    """What a search came to."""

    run: str
    model: str
    study: str
    metric: str
    objectives: tuple[str, ...]
    pruner: str
    sampler: str
    seed: int
    settings: tuple[SearchedSetting, ...]
    trials: tuple[TrialRecord, ...]
    pareto: tuple[int, ...] = ()
    """Numbers of the trials that no other one beats in every objective; empty where there is one objective."""
    best: EvaluatedSettings
    defaults: EvaluatedSettings
    """The profile's own settings."""
    improved: bool
    """Whether the best trial's validation score is better than that of the settings as they were."""
    validation_rows: int
    test_rows: int
    test_difference: dict[str, Difference] = Field(default_factory=dict)
    """Metric to best minus defaults on the same test rows, with its 95 % interval (paired)."""
    epoch_metric: str
    """What `TrialRecord.epochs` holds."""
    stopped: str | None = None
    """The budget that ended the run before all trials were done."""
    profile: str | None = None
    """The file's name of the profile that was saved."""
    notes: tuple[str, ...] = ()

    def count(self, state: State) -> int:
        """Trials in this state."""
        return sum(trial.state == state for trial in self.trials)
