"""The section of the config on tuning: which settings are searched over, towards what, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tasks.config_sections import YEAR_S, Section
from tasks.gate_rules import MetricName

Objective = Literal["score", "latency_ms", "size_mb"]
Value = bool | int | float | str
"""What a searched setting can be."""


class FloatRange(Section):
    """Numbers from `low` to `high`, both included; `log`: evenly in the exponent."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> FloatRange:
        _check_range(self.low, self.high, self.log)
        return self


class IntRange(Section):
    """Whole numbers from `low` to `high`, both included; `log`: evenly in the exponent."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _is_a_range(self) -> IntRange:
        _check_range(self.low, self.high, self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; leave one of them out")
        return self


class Choices(Section):
    """One of several values."""

    type: Literal["categorical"]
    choices: tuple[Value, ...]

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: tuple[Value, ...]) -> tuple[Value, ...]:
        if len({(type(choice), choice) for choice in choices}) < max(2, len(choices)):
            raise ValueError(f"name two different values at least, each once: {list(choices)}")
        return choices


def _check_range(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low = {low:g} must be below high = {high:g}")
    if log and low <= 0:
        raise ValueError(f"log: low = {low:g} must be above 0")


Range = Annotated[FloatRange | IntRange | Choices, Field(discriminator="type")]


def _flattened(space: Any) -> Any:
    """`{"train": {"learning_rate": {"type": ...}}}`, as TOML reads a dotted key, becomes `{"train.learning_rate": {...}}`."""
    return dict(_flat(space, "")) if isinstance(space, Mapping) else space


def _flat(space: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in space.items():
        inner = (
            isinstance(value, Mapping) and "type" not in value and any(isinstance(v, Mapping) for v in value.values())
        )
        found += _flat(value, f"{prefix}{key}.") if inner else [(f"{prefix}{key}", value)]
    return found


class TuneConfig(Section):
    """What `crossmodal tune` searches, and how far."""

    search_space: Annotated[dict[str, Range], BeforeValidator(_flattened)] | None = None
    """Setting to its range: "train.learning_rate" = {type = "float", low = 1e-4, high = 1e-2, log = true}, {type = "int",
    low = 1, high = 8}, or {type = "categorical", choices = ["concat", "gated"]}. Of encoders, extract, fusion and train. None:
    rates, regularisation and widths that matter in most problems."""
    objectives: tuple[Objective, ...] = ("score",)
    """score: tune.metric on the validation rows. latency_ms: of one row. size_mb: of the weights. Of several, trials that no
    other one beats in all of them are the result (the Pareto front), and nothing is pruned."""
    metric: MetricName = "auto"
    """The validation score; auto: what the gate compares models on (gate.metric)."""
    trials: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Trials of the study, over all runs and workers; the first are the settings as they are."""
    timeout_s: Annotated[float, Field(gt=0, le=YEAR_S)] | None = None
    """A run stops after this time, within an epoch's length; the next one resumes. None: no limit."""
    max_train_s: Annotated[float, Field(gt=0, le=100 * YEAR_S)] | None = None
    """Seconds of training that all trials together may cost, over all runs and workers. None: no limit."""
    epochs: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Epochs of a trial, and of the settings that it is compared with. Fewer are cheaper, and favour what learns fast. None:
    train.epochs."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Ends trials early. median: those below the median of the others at the same epoch. hyperband: by successive halving."""
    storage: Annotated[str, Field(min_length=1)] = "auto"
    """Where workers meet. auto: a journal in the store. postgresql://USER@HOST/DB: a database; its password is better left to
    ~/.pgpass or PGPASSWORD."""

    @field_validator("search_space")
    @classmethod
    def _is_not_empty(cls, space: dict[str, Range] | None) -> dict[str, Range] | None:
        if space is not None and not space:
            raise ValueError("is empty: there is nothing to tune; name a setting and its range, or leave it out")
        return space

    @field_validator("objectives")
    @classmethod
    def _begin_with_the_score(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        if objectives[:1] != ("score",) or len(set(objectives)) < len(objectives):
            raise ValueError('the first is "score", each stands once: ["score"], ["score", "latency_ms", "size_mb"]')
        return objectives

    @field_validator("storage")
    @classmethod
    def _is_a_storage(cls, storage: str) -> str:
        if storage != "auto" and not storage.startswith(("postgresql://", "postgresql+psycopg2://")):
            raise ValueError("write auto, or postgresql://USER@HOST/DATABASE")
        return storage
