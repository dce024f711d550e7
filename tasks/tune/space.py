"""What is searched over: the settings' ranges, checked against the config before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_contracts.refs import InputName
from data_contracts.tuning import Value
from tasks.config import MODEL_SECTIONS, RunConfig, known_keys, nearest_key, with_settings
from tasks.config_tune import Choices, FloatRange, IntRange, Range
from tasks.errors import UsageError

Space = Mapping[str, Range]
_NO_RESULT = {
    "train.continue_from": "trials start from nothing",
    "train.devices": "it is the machine's",
    "train.epochs": "it is what trials share: a validation score from more epochs costs more; set tune.epochs, or train.epochs",
    "train.checkpoint_steps": "it shapes no model",
    "train.compile": "it shapes no model",
    "train.device": "it is the machine's",
    "train.gradient_checkpointing": "it shapes no model",
    "train.strategy": "it is the machine's",
    "train.threads": "it is the machine's",
}


def default_space(config: RunConfig, inputs: Sequence[InputName]) -> dict[str, Range]:
    """What matters in most problems: rates and regularisation over an order of magnitude around the usual, and widths.

    Settings of several inputs only where there are several, those of pretrained weights only where they are trained.
    """
    train = config.train
    space: dict[str, Range] = {
        "train.learning_rate": FloatRange(type="float", low=3e-4, high=1e-2, log=True),
        "train.weight_decay": FloatRange(type="float", low=1e-3, high=0.3, log=True),
        "train.label_smoothing": FloatRange(type="float", low=0.0, high=0.2),
        "train.batch_size": Choices(type="categorical", choices=(32, 64, 128)),
        "fusion.dropout": FloatRange(type="float", low=0.0, high=0.6),
        "fusion.hidden": Choices(type="categorical", choices=(128, 256, 512)),
    }
    if len(inputs) > 1:
        space["fusion.kind"] = Choices(type="categorical", choices=("concat", "gated", "attention", "bilinear", "late"))
        space["fusion.modality_dropout"] = FloatRange(type="float", low=0.0, high=0.5)
    if train.regime in ("lora", "last-n", "full"):
        space["train.encoder_learning_rate"] = FloatRange(type="float", low=1e-5, high=1e-3, log=True)
    return {name: _widened(values, value_of(config, name)) for name, values in space.items()}


def _widened(values: Range, own: Value | None) -> Range:
    """The range with the setting as it is in it, so that a trial can have it."""
    if own is None or contains(values, own):
        return values
    if isinstance(values, Choices):
        return Choices(type="categorical", choices=(*values.choices, own))
    if isinstance(values, FloatRange) and not isinstance(own, bool | str) and (own > 0 or not values.log):
        return values.model_copy(update={"low": min(values.low, float(own)), "high": max(values.high, float(own))})
    return values


def require_valid_space(space: Space, config: RunConfig) -> None:
    """Raises UsageError for a key that there is not or that cannot be searched, and for an end or a choice that the config
    refuses."""
    known = [key for key in known_keys(RunConfig) if key.partition(".")[0] in MODEL_SECTIONS]
    for key, values in space.items():
        if key not in known:
            raise UsageError(_unknown(key, known))
        if key in _NO_RESULT:
            raise UsageError(f"tune.search_space: {key} cannot be searched: {_NO_RESULT[key]}")
        for value in ends_of(values):
            try:
                with_settings(config, {key: value})
            except UsageError as error:
                raise UsageError(f"tune.search_space: {key}: {error}") from None


def _unknown(key: str, known: Sequence[str]) -> str:
    if key in known_keys(RunConfig):
        return (
            f"tune.search_space: {key} cannot be searched: only settings of {', '.join(MODEL_SECTIONS)} can, as others change "
            "which rows are compared, or no model"
        )
    near = nearest_key(key, known)
    hint = f"; did you mean {near!r}?" if near else f"; sections are {', '.join(MODEL_SECTIONS)}"
    return f"tune.search_space: setting {key!r} does not exist{hint}"


def ends_of(values: Range) -> tuple[Value, ...]:
    """The values that stand for all: both ends, or every choice."""
    return values.choices if isinstance(values, Choices) else (values.low, values.high)


def trial_config(config: RunConfig) -> RunConfig:
    """The settings as they are, as every trial has them where it searches nothing: from nothing, and with its epochs."""
    changed: dict[str, object] = {"continue_from": "none"}
    if config.tune.epochs is not None:
        changed["epochs"] = config.tune.epochs
    return config.model_copy(update={"train": config.train.model_copy(update=changed)})


def value_of(config: RunConfig, key: str) -> Value | None:
    """A setting's value; None where it is not set, or is no single value."""
    found: object = config
    for name in key.split("."):
        found = getattr(found, name)
    return found if isinstance(found, bool | int | float | str) else None


def own_settings(config: RunConfig, space: Space) -> dict[str, Value] | None:
    """The settings as they are, where all lie in the space; None where one does not."""
    found: dict[str, Value] = {}
    for key, values in space.items():
        value = value_of(config, key)
        if value is None or not contains(values, value):
            return None
        found[key] = float(value) if isinstance(values, FloatRange) else value
    return found


def contains(values: Range, value: Value) -> bool:
    """Whether a value is one that the search could come to."""
    if isinstance(values, Choices):
        return any(type(choice) is type(value) and choice == value for choice in values.choices)
    if isinstance(value, bool | str) or not values.low <= value <= values.high:
        return False
    return not isinstance(values, IntRange) or (value == int(value) and (int(value) - values.low) % values.step == 0)
