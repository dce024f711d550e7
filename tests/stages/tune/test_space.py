"""The search space: what it takes, what it refuses before any work, and the settings that come of it."""

from __future__ import annotations

import pytest

from tasks.config import RunConfig, load_config, with_settings
from tasks.config_tune import Choices, FloatRange, IntRange, Range
from tasks.errors import UsageError
from tasks.tune.space import (
    contains,
    default_space,
    own_settings,
    require_valid_space,
    trial_config,
    value_of,
)

RATE = FloatRange(type="float", low=1e-4, high=1e-2, log=True)


def test_a_dotted_key_is_read_as_toml_reads_it_and_in_quotation_marks() -> None:
    nested = {"tune": {"search_space": {"train": {"learning_rate": RATE.model_dump()}}}}
    quoted = {"tune": {"search_space": {"train.learning_rate": RATE.model_dump()}}}
    assert (
        load_config(nested).tune.search_space == load_config(quoted).tune.search_space == {"train.learning_rate": RATE}
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("tune.search_space={}", "is empty: there is nothing to tune"),
        ("tune.trials=0", "greater than or equal to 1"),
        ("tune.max_train_s=0", "greater than 0"),
        ("tune.epochs=0", "greater than or equal to 1"),
        ('tune.search_space.train.learning_rate={type="float", low=1, high=0.1}', "low = 1 must be below high = 0.1"),
        ('tune.search_space.train.learning_rate={type="float", low=0, high=1, log=true}', "low = 0 must be above 0"),
        ('tune.search_space.train.batch_size={type="int", low=2, high=8, log=true, step=2}', "exclude each other"),
        ('tune.search_space.fusion.kind={type="categorical", choices=["gated"]}', "two different values"),
        ('tune.search_space.fusion.kind={type="choice", choices=["gated"]}', 'takes {type = "float"'),
        ("tune.search_space.train.learning_rate=0.1", 'takes {type = "float"'),
        ('tune.objectives=["latency_ms"]', 'the first is "score"'),
        ("tune.metric=acuracy", "did you mean 'accuracy'?"),
        ("tune.storage=sqlite:///study.db", "write auto, or postgresql://"),
        ("tune.pruner=mean", "'median', 'hyperband' or 'none'"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_config(setting: str, said: str) -> None:
    with pytest.raises(UsageError, match="tune") as refused:
        load_config({}, [setting])
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("train.learning_rte", RATE, "did you mean 'train.learning_rate'?"),
        (
            "data.max_rows",
            IntRange(type="int", low=10, high=20),
            "only settings of encoders, extract, fusion, train can",
        ),
        ("train.threads", IntRange(type="int", low=1, high=2), "it is the machine's"),
        ("train.epochs", IntRange(type="int", low=1, high=2), "set tune.epochs"),
        ("fusion.dropout", FloatRange(type="float", low=0, high=1.5), "fusion.dropout' = 1.5"),
        ("fusion.kind", Choices(type="categorical", choices=("concat", "sum")), "fusion.kind' = 'sum'"),
        ("train.batch_size", FloatRange(type="float", low=16.5, high=64.5), "train.batch_size' = 16.5"),
        ("encoders.image", Choices(type="categorical", choices=("tiny", "resnet")), "encoders.image' = 'resnet'"),
    ],
)
def test_a_key_or_value_that_the_config_refuses_is_refused_before_any_work(key: str, values: Range, said: str) -> None:
    with pytest.raises(UsageError, match=r"^tune\.search_space: ") as refused:
        require_valid_space({key: values}, RunConfig())
    assert said in str(refused.value)


@pytest.mark.parametrize("regime", ["auto", "head", "lora", "last-n", "full"])
@pytest.mark.parametrize("inputs", [("image",), ("image", "audio")])
def test_the_default_space_is_valid_and_has_the_settings_as_they_are_in_it(
    regime: str, inputs: tuple[str, ...]
) -> None:
    config = load_config({}, [f"train.regime={regime}"])
    space = default_space(config, inputs)
    require_valid_space(space, config)
    assert ("fusion.kind" in space) == (len(inputs) > 1)
    assert ("train.encoder_learning_rate" in space) == (regime in ("lora", "last-n", "full"))
    own = own_settings(config, space)
    assert own is not None
    assert own == {key: value_of(config, key) for key in space}


def test_the_default_space_is_widened_to_settings_beyond_it() -> None:
    config = load_config(
        {}, ["train.learning_rate=0.05", "train.batch_size=8", "train.weight_decay=0", "fusion.dropout=1"]
    )
    space = default_space(config, ("image",))
    require_valid_space(space, config)
    assert space["train.learning_rate"] == FloatRange(type="float", low=3e-4, high=0.05, log=True)
    assert space["train.batch_size"] == Choices(type="categorical", choices=(32, 64, 128, 8))
    assert space["fusion.dropout"] == FloatRange(type="float", low=0, high=1)
    assert own_settings(config, space) is None, "0 has no logarithm: the settings are trained beside the trials"


def test_settings_outside_the_space_are_no_trial() -> None:
    assert own_settings(RunConfig(), {"train.learning_rate": FloatRange(type="float", low=0.1, high=1)}) is None
    assert own_settings(RunConfig(), {"encoders.image_px": IntRange(type="int", low=32, high=64)}) is None


def test_a_value_of_another_type_is_not_in_the_space() -> None:
    steps = IntRange(type="int", low=2, high=10, step=4)
    assert [value for value in range(12) if contains(steps, value)] == [2, 6, 10]
    assert not contains(steps, True)
    assert not contains(Choices(type="categorical", choices=(1, 2)), True)
    assert contains(Choices(type="categorical", choices=(False, True)), True)


def test_a_trial_starts_from_nothing_and_has_the_studys_epochs() -> None:
    config = trial_config(load_config({}, ["train.continue_from=champion", "tune.epochs=3"]))
    assert (config.train.continue_from, config.train.epochs) == ("none", 3)
    assert with_settings(config, {"fusion.kind": "gated"}).fusion.kind == "gated"


def test_the_search_enters_no_other_stages_part_of_the_config() -> None:
    searched = load_config({}, ["tune.trials=3", "tune.epochs=2"])
    for section in ("seed", "fusion", "train", "encoders", "extract", "data", "split", "media"):
        assert searched.subset(section) == RunConfig().subset(section)
