"""The study that workers share: Optuna's, whose every step can be repeated after a kill.

Each trial has samplers of its own, seeded by the study's seed, its number and the setting: what it tries depends on the trials
before it alone, not on how often a process died. A trial is its worker's for as long as that holds a lock in the store; one
whose lock is free is taken up by the next, with the same settings, and its training resumes from its kept state.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.training_history import Epoch
from data_contracts.tuning import State, TrialRecord, Value
from tasks.config import RunConfig
from tasks.config_tune import Choices, IntRange, Range, TuneConfig
from tasks.errors import EnvironmentFailed
from tasks.locks import held, held_if_free
from tasks.redaction import redact
from tasks.store import Store, digest_json, replace_file
from tasks.tune.space import Space
from tasks.tune.storage import open_storage

if TYPE_CHECKING:
    import optuna

SAMPLER = "TPE"
_STATES: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
MAX_ATTEMPTS = 3
"""How often in a row a trial is begun and ends with its process, or for its machine, before an epoch is done; then it counts
as failed. On a GPU whose memory does not suffice, a study would never get past it."""
_STORE, _ATTEMPTS, _EPOCHS, _SECONDS, _REASON = "store", "attempts", "epochs", "train_s", "reason"
"""Attributes of a trial."""


@dataclass(frozen=True)
class Plan:
    """All that a study's trials have in common. Budgets are no part of it: with a larger one a study resumes."""

    name: str
    """Of the study in its storage: the model's and a digest of rows, code, settings, space and objectives."""
    space: Space
    lower_is_better: tuple[bool, ...]
    """Of each objective."""
    report_sign: float
    """What an epoch's figure is multiplied by, so that it counts in the direction of the score."""
    epochs: int
    """Of a trial."""
    seed: int
    tune: TuneConfig
    first: Mapping[str, Value] | None
    """The settings as they are, which the first trial has; None: they lie outside the space."""


def study_name(model: str, base_key: str, space: Space, metric: str, config: RunConfig) -> str:
    """The name of the study: another one for other rows, features, code, settings, ranges or objectives."""
    tune = config.tune
    parts = {
        "base": base_key,
        "space": {name: values.model_dump(mode="json") for name, values in sorted(space.items())},
        "objectives": tune.objectives,
        "metric": metric,
        "pruner": tune.pruner,
        "order": list(space),
    }
    return f"{model}-{digest_json(parts)[:16]}"


def study_folder(store: Store, name: str) -> Path:
    """Where the study's journal and locks lie: unfinished work, as far as the store is concerned."""
    return store.root / "work" / f"tune-{name}"


@dataclass
class Trial:
    """A trial that this process works on."""

    number: int
    settings: dict[str, Value]
    attempt: int
    """From 1; of those in a row that ended before an epoch was done."""
    _study: Study
    _trial: optuna.Trial
    _epochs: int
    """Those that the study has heard of."""
    train_s: float = 0.0

    def hear(self, epoch: Epoch, metric: str) -> bool:
        """Notes the figure of an epoch; whether the trial is to end here, being worse than others."""
        self.train_s += epoch.seconds
        if epoch.epoch > self._epochs:
            self._epochs = epoch.epoch
            self._trial.set_user_attr(_EPOCHS, epoch.epoch)
            self._trial.set_user_attr(_ATTEMPTS, 0)
        value = (epoch.model_extra or {}).get(metric)
        if value is None or len(self._study.plan.lower_is_better) > 1:
            return False
        step = epoch.epoch - 1
        if step not in self._study.frozen(self.number).intermediate_values:
            self._trial.report(self._study.plan.report_sign * value, step)
        return bool(self._trial.should_prune())

    def complete(self, values: Sequence[float]) -> None:
        """The trial has these values of the objectives."""
        self._tell("COMPLETE", [float(value) for value in values])

    def prune(self) -> None:
        """The trial ended early."""
        self._tell("PRUNED")

    def fail(self, reason: str) -> None:
        """The trial's settings cannot be trained, or its machine failed too often."""
        self._trial.set_user_attr(_REASON, redact(reason))
        self._tell("FAIL")

    def note_cost(self) -> None:
        """What the trial has cost by now is known to the study, should it resume in another run."""
        self._trial.set_user_attr(_SECONDS, round(self.train_s, 3))

    def _tell(self, state: str, values: list[float] | None = None) -> None:
        import optuna

        self.note_cost()
        self._study.optuna.tell(self._trial, values, optuna.trial.TrialState[state], skip_if_finished=True)


class Study:
    """A study, opened by one worker."""

    def __init__(self, plan: Plan, store: Store) -> None:
        """Opened, or made with its first trial waiting. EnvironmentFailed where the database does not answer."""
        self.plan, self._store = plan, store
        self.folder = study_folder(store, plan.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self.folder.with_name(f"{self.folder.name}.lock")
        with self._alone():
            self._place = _place_of(self.folder)
            self.optuna = _open(plan, self.folder)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with held(self._lock, self._store.lock_timeout_s, self._store.run):
            yield

    @contextlib.contextmanager
    def next_trial(self, within_budget: bool) -> Iterator[Trial | None]:
        """A trial to work on in the block, which no other worker of this store has: one that nobody works on any more, else a
        new one. None where all that the budget allows are taken or done."""
        with contextlib.ExitStack() as stack:
            trial = None
            if within_budget:
                with self._alone():
                    trial = self._take_up(stack) or self._begin(stack)
            yield trial

    def wait_for_others(self) -> bool:
        """Waits until a trial that another worker has is free, if there is one; whether there was."""
        for trial in self._unfinished():
            with held(self._lock_of(trial.number), self._store.lock_timeout_s, self._store.run):
                return True
        return False

    def _unfinished(self) -> list[optuna.trial.FrozenTrial]:
        """Trials of this store that are not done; those of other stores resume there, where their training's state lies."""
        return [trial for trial in self._trials("RUNNING") if trial.user_attrs.get(_STORE) in (None, self._place)]

    def _take_up(self, stack: contextlib.ExitStack) -> Trial | None:
        for trial in self._unfinished():
            with contextlib.ExitStack() as taken:
                is_free = taken.enter_context(held_if_free(self._lock_of(trial.number)))
                if is_free and not self.frozen(trial.number).state.is_finished():  # by who let it go meanwhile
                    stack.enter_context(taken.pop_all())
                    return self._sampled(trial.number)
        return None

    def _begin(self, stack: contextlib.ExitStack) -> Trial | None:
        if len(self.optuna.get_trials(deepcopy=False)) - len(self._trials("WAITING")) >= self.plan.tune.trials:
            return None
        number = self.optuna.ask().number
        stack.enter_context(held(self._lock_of(number), self._store.lock_timeout_s, self._store.run))
        return self._sampled(number)

    def _sampled(self, number: int) -> Trial:
        """The trial with all of its settings, those that a killed worker had drawn among them."""
        import optuna

        self.optuna.sampler = self._sampler(number, "")
        trial = optuna.Trial(self.optuna, self.frozen(number)._trial_id)
        _ = trial.relative_params  # drawn now, by the sampler of all settings together
        settings: dict[str, Value] = {}
        for name, values in self.plan.space.items():
            self.optuna.sampler = self._sampler(number, name)
            settings[name] = _suggest(trial, name, values)
        attempt = int(trial.user_attrs.get(_ATTEMPTS, 0)) + 1
        trial.set_user_attr(_STORE, self._place)
        trial.set_user_attr(_ATTEMPTS, attempt)
        return Trial(number, settings, attempt, self, trial, int(trial.user_attrs.get(_EPOCHS, 0)))

    def _sampler(self, number: int, setting: str) -> optuna.samplers.BaseSampler:
        import optuna

        seed = int(digest_json([self.plan.seed, number, setting])[:8], 16)
        return optuna.samplers.TPESampler(seed=seed)

    def _lock_of(self, number: int) -> Path:
        return self.folder / f"trial-{number}.lock"

    def _trials(self, *states: str) -> list[optuna.trial.FrozenTrial]:
        import optuna

        return self.optuna.get_trials(deepcopy=False, states=[optuna.trial.TrialState[state] for state in states])

    def frozen(self, number: int) -> optuna.trial.FrozenTrial:
        """The trial as the storage has it."""
        return self.optuna.get_trials(deepcopy=False)[number]

    def repeats_pruned(self, trial: Trial) -> bool:
        """Whether a trial of the same settings was pruned already: this one would come to the same."""
        return any(other.number < trial.number and other.params == trial.settings for other in self._trials("PRUNED"))

    def done(self) -> int:
        """Trials that are finished, whatever the end."""
        return len(self._trials("COMPLETE", "PRUNED", "FAIL"))

    def cost_s(self, apart_from: int | None = None) -> float:
        """Seconds of training of all trials."""
        trials = self.optuna.get_trials(deepcopy=False)
        return sum(float(trial.user_attrs.get(_SECONDS, 0.0)) for trial in trials if trial.number != apart_from)

    def records(self) -> list[TrialRecord]:
        """Every trial that was begun, in order."""
        return [self._record(trial) for trial in self.optuna.get_trials(deepcopy=False) if trial.state.name in _STATES]

    def _record(self, trial: optuna.trial.FrozenTrial) -> TrialRecord:
        steps = sorted(trial.intermediate_values)
        return TrialRecord(
            number=trial.number,
            state=_STATES[trial.state.name],
            settings=dict(trial.params),
            values=tuple(trial.values or ()) if trial.state.name == "COMPLETE" else (),
            epochs=tuple(self.plan.report_sign * trial.intermediate_values[step] for step in steps),
            train_s=trial.user_attrs.get(_SECONDS, 0.0),
            reason=trial.user_attrs.get(_REASON),
        )


def _place_of(folder: Path) -> str:
    """The name by which the trials of this store are known in a database that several stores share; it moves with the store."""
    file = folder / "place"
    if not file.exists():
        replace_file(file, uuid.uuid4().hex.encode())
    return file.read_text(encoding="utf-8")


def _open(plan: Plan, folder: Path) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    which = optuna.study.StudyDirection
    directions = [which.MINIMIZE if lower else which.MAXIMIZE for lower in plan.lower_is_better]
    try:
        study = optuna.create_study(
            storage=open_storage(plan.tune.storage, folder),
            study_name=plan.name,
            directions=directions,
            pruner=_pruner(plan),
            load_if_exists=True,
        )
        if plan.first is not None and not study.get_trials(deepcopy=False):
            study.enqueue_trial(dict(plan.first))
    except ValueError as error:  # a line of the journal that is not the last
        raise EnvironmentFailed(
            f"tune: the journal in {folder} is damaged ({error}); delete the folder and check the disk: what was trained is "
            "found again"
        ) from None
    return study


def _pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """Judges from a fifth of the epochs on; the median, once a fifth of the trials (five at most) are complete."""
    import optuna

    warmup = max(1, plan.epochs // 5)
    if plan.tune.pruner == "median":
        return optuna.pruners.MedianPruner(max(1, min(5, plan.tune.trials // 5)), n_warmup_steps=warmup)
    if plan.tune.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=warmup, max_resource=max(warmup, plan.epochs))
    return optuna.pruners.NopPruner()


def _suggest(trial: optuna.Trial, name: str, values: Range) -> Value:
    if isinstance(values, Choices):
        found = trial.suggest_categorical(name, values.choices)
        assert found is not None  # no choice is
        return found
    if isinstance(values, IntRange):
        return trial.suggest_int(name, values.low, values.high, step=values.step, log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)
