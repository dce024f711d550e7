"""What a study came to: the best trial, what each setting was worth, and the artifact that is kept of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_contracts.refs import Ref, StudyRef
from data_contracts.tuning import TUNE, SearchedSetting, TrialRecord, TuneReport, Value
from tasks.config import RunConfig
from tasks.config_tune import Choices
from tasks.store import Store, canonical_json, digest_json, write_text
from tasks.tune.space import Space, value_of

if TYPE_CHECKING:
    import optuna

KIND = "studies"
LEAST_TRIALS = 10
"""Complete trials without which no importance is reported. PED-ANOVA's authors advise at least five among the best
(https://arxiv.org/abs/2304.10255)."""


def find_best(trials: Sequence[TrialRecord], lower_is_better: Sequence[bool]) -> TrialRecord | None:
    """The complete trial with the best score; of equals the better in the further objectives, then the first."""
    complete = [trial for trial in trials if trial.state == "complete"]

    def rank(trial: TrialRecord) -> tuple[float, ...]:
        """Smaller is better."""
        signed = (v if lower else -v for v, lower in zip(trial.values, lower_is_better, strict=True))
        return (*signed, trial.number)

    return min(complete, key=rank, default=None)


def measure_importance(study: optuna.Study, lower_is_better: bool) -> dict[str, float]:
    """Setting to its share of what decides whether a trial is among the best by the score (PED-ANOVA); {} where too few are
    complete, or all have one score."""
    import optuna

    complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    scores = {trial.values[0] for trial in complete}
    if len(complete) < LEAST_TRIALS or len(scores) < 2:
        return {}
    # A tenth of the trials, and five at least.
    share = min(0.5, max(0.1, 5 / len(complete)))
    sign = 1.0 if lower_is_better else -1.0
    # Against the whole space: against the trials, a setting that the sampler soon settled on would seem not to matter.
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share, evaluate_on_local=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that lower is better is what `sign` is for
        found = optuna.importance.get_param_importances(
            study, evaluator=evaluator, target=lambda trial: sign * trial.values[0]
        )
    return {name: round(float(value), 6) for name, value in found.items()}


def describe_space(
    space: Space, config: RunConfig, best: TrialRecord, importance: dict[str, float]
) -> tuple[SearchedSetting, ...]:
    """Every searched setting with its value before and in the best trial; the most important first."""
    found = [
        SearchedSetting(
            name=name,
            kind=values.type,
            low=None if isinstance(values, Choices) else values.low,
            high=None if isinstance(values, Choices) else values.high,
            log=not isinstance(values, Choices) and values.log,
            choices=values.choices if isinstance(values, Choices) else (),
            before=value_of(config, name),
            best=best.settings.get(name),
            importance=importance.get(name),
        )
        for name, values in space.items()
    ]
    return tuple(sorted(found, key=lambda setting: -(setting.importance or 0.0)))


def changed_settings(report: TuneReport) -> dict[str, Value]:
    """What the best trial has otherwise than the settings as they were."""
    return {s.name: s.best for s in report.settings if s.best is not None and s.best != s.before}


def keep_study(report: TuneReport, made_from: Sequence[Ref], store: Store) -> StudyRef:
    """The study as it stands, as an artifact; the models and evaluations that it names stay as long as it is kept."""
    content = report.model_dump(mode="json", exclude={"run", "profile"})
    key = digest_json(content)
    if (found := store.find(KIND, key)) is not None:
        return StudyRef.model_validate(found.ref)
    with store.create(KIND, key, dict.fromkeys(ref.uri for ref in made_from)) as draft:
        write_text(draft.path / TUNE, canonical_json(content))
        ref = StudyRef(
            uri=f"{KIND}/{key}",
            sha256=key,
            rows=report.validation_rows,
            parents=tuple(dict.fromkeys(ref.sha256 for ref in made_from)),
            study=report.study,
        )
        draft.ref = ref.model_dump(mode="json")
    return ref
