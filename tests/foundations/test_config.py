"""RunConfig: every wrong key or value is one line that names the key; precedence; the subset a stage reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.config import RENAMED, RunConfig, known_keys, load_config, parse_assignment, read_profile
from tasks.errors import UsageError


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trian.epochs=3", ["'trian.epochs'", "did you mean 'train.epochs'"]),
        ("train.epoch=3", ["'train.epoch'", "did you mean 'train.epochs'"]),
        ("data.columns.lable=x", ["'data.columns.lable'", "did you mean 'data.columns.label'"]),
        ("zzzz=1", ["'zzzz'", "sections are name, seed, data"]),
        ("train.epochs=many", ["'train.epochs'", "'many'", "valid integer"]),
        ("train.epochs=0", ["'train.epochs'", "greater than or equal to 1"]),
        ("train.learning_rate=Infinity", ["'train.learning_rate'", "finite"]),
        ("train.learning_rate=NaN", ["'train.learning_rate'", "finite"]),
        ("gate.mode=worse", ["'gate.mode'", "'better' or 'not-worse'"]),
        ("encoders.video=huge", ["'encoders.video'", "tiny, classical, auto, off, torchvision:NAME"]),
        ("split.val=0.9", ["split.val + split.test is 1.05"]),
        ("data.max_quarantined=1.5", ["'data.max_quarantined'", "less than or equal to 1"]),
        ("train=3", ["'train'", "TrainConfig"]),
        ("seed.x=1", ["'seed'", "valid integer"]),
        ('gate.rules=[{"metric":"accuracy"}]', ["'gate.rules.0'", "one of min, max, max_drop and above_majority"]),
        (
            "gate.rules=[{metric='ece', max=1, slise='a=b'}]",
            ["'gate.rules.0.slise'", "did you mean 'gate.rules.0.slice'"],
        ),
        ('gate.rules=[{"metric":"f2","min":1}]', ["'gate.rules.0.metric'", "'macro_f1'"]),
        ('gate.rules=[{"metric":"auroc","above_majority":true}]', ["accuracy, mean_ap, mae and rmse only"]),
        ("evaluate.slices=5", ["'evaluate.slices'", "takes a list, [VALUE, ...]"]),
        ("data.columns=x", ["'data.columns'", "takes a table, {KEY = VALUE, ...}"]),
        ("split.folds=3", ["'split.folds'", "takes a table, {KEY = VALUE, ...}"]),
        ("gate.margin=5", ["'gate.margin'", "less than or equal to 1"]),
        ("extract.hop_ms=0.01", ["'extract.hop_ms'", "greater than or equal to 1"]),
    ],
)
def test_wrong_key_or_value_is_one_line_naming_it(override: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        load_config({}, [override])
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def _leaves() -> list[str]:
    return list(known_keys(RunConfig))


@pytest.mark.parametrize("key", _leaves())
def test_every_key_refuses_a_value_of_the_wrong_type(key: str) -> None:
    with pytest.raises(UsageError, match=key.replace(".", r"\.")):
        load_config({}, [key + '={"no": ["such", "value"]}'])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[{"metric": "accuracy", "min": 0.9}]', [{"metric": "accuracy", "min": 0.9}]),
        ('[{metric="accuracy", min=0.9}, {max = 1_0}]', [{"metric": "accuracy", "min": 0.9}, {"max": 10}]),
        ("['a']", ["a"]),
        ("{a.b = true}", {"a": {"b": True}}),
        ("[speaker]", "[speaker]"),
        ("2026-01-01", "2026-01-01"),
    ],
)  # fmt: skip
def test_a_value_is_json_or_a_table_or_array_of_toml_or_text(text: str, value: object) -> None:
    assert parse_assignment(f"gate.rules={text}") == (["gate", "rules"], value)


def test_slices_are_those_of_the_config_and_those_that_rules_name() -> None:
    rules = '[{metric="auto", min=0, slice="a + b = x"}, {metric="auto", min=0, slice="text.size=q1"}]'
    config = load_config({}, ['evaluate.slices=["c", "a+b"]', f"gate.rules={rules}"])
    assert config.slices == ("c", "a+b")
    assert config.gate.rules[0].slice == "a+b=x"
    with pytest.raises(UsageError, match="names a slice twice"):
        load_config({}, ['evaluate.slices=["a+b", "a + b"]'])


def test_a_value_where_a_section_is_expected() -> None:
    with pytest.raises(UsageError, match="'seed' is a value, not a section"):
        load_config({"seed": 1}, ["seed.x=2"])


@pytest.mark.parametrize("text", ["train.epochs", "=3", " =3"])
def test_an_assignment_needs_a_key_and_an_equals_sign(text: str) -> None:
    with pytest.raises(UsageError, match="write KEY=VALUE"):
        parse_assignment(text)


def test_flags_win_over_the_profile_and_the_profile_over_the_defaults() -> None:
    profile = {"train": {"epochs": 5, "batch_size": 8}}
    config = load_config(profile, ["train.epochs=7", "data.columns.label=0", "encoders.text=off"])
    assert (config.train.epochs, config.train.batch_size, config.train.warmup_ratio) == (7, 8, 0.1)
    assert (config.data.columns.label, config.encoders.text) == ("0", "off")
    assert profile == {"train": {"epochs": 5, "batch_size": 8}}


def test_subset_holds_the_named_sections_as_json_values() -> None:
    split = {"by": "hash", "val": 0.15, "test": 0.15, "leakage": "report"}
    split |= {"near_duplicates": True, "min_test_per_class": 0, "folds": {}, "list_fold": 1, "strict": False}
    split |= {"sealed": 0.0, "refresh": False}
    assert RunConfig().subset("split", "seed") == {"split": split, "seed": 0}


@pytest.mark.parametrize(("content", "words"), [(b"a = ", "not readable as TOML"), (b"\xff", "not readable as TOML")])
def test_a_profile_that_is_not_toml(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_profile(path)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_profile(tmp_path / "none.toml")


def test_a_date_in_a_profile_is_an_error_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text("seed = 2020-01-01\n")
    with pytest.raises(UsageError, match="'seed'"):
        load_config(read_profile(path), where=str(path))


@pytest.mark.parametrize(("old", "new"), sorted(RENAMED.items()))
def test_a_key_of_before_is_named_with_the_one_that_it_is_now(old: str, new: str) -> None:
    assert new in set(known_keys(RunConfig))
    with pytest.raises(UsageError, match=rf"^config key '{old}' \(from --set {old}=1\) is called '{new}' now$"):
        load_config({}, [f"{old}=1"])
    section, _, key = old.partition(".")
    with pytest.raises(UsageError, match=f"is called '{new}' now"):
        load_config({section: {key: 1}})


@pytest.mark.parametrize("content", ["a = " + "[" * 5000, "a = " + "{b=" * 5000], ids=len)
def test_a_profile_that_is_nested_too_deeply(tmp_path: Path, content: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"p\.toml.* nested too deeply"):
        load_config(read_profile(path), (), f"profile {path}")


@pytest.mark.parametrize("override", ["data.path=" + "[" * 5000, "data.path=" + '{"a":' * 5000], ids=len)
def test_an_override_that_is_nested_too_deeply(override: str) -> None:
    with pytest.raises(UsageError, match=r"--set.* nested too deeply"):
        load_config({}, [override])


COUNTS = ("_s", "_ms", "_mb", "_days", "_hz", "_px")


def unbounded(schema: Any, definitions: dict[str, Any], where: str = "") -> Iterator[str]:
    """The keys that take a whole number, or one with a unit of time or size, without an upper bound."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    bounded = "maximum" in schema or "exclusiveMaximum" in schema
    if not bounded and (schema.get("type") == "integer" or (schema.get("type") == "number" and where.endswith(COUNTS))):
        yield where
    for choice in (*schema.get("anyOf", ()), *filter(None, [schema.get("items")])):
        yield from unbounded(choice, definitions, where)
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, definitions, f"{where}.{name}".lstrip("."))


def test_every_count_and_every_time_has_an_upper_bound() -> None:
    schema = RunConfig.model_json_schema()
    assert list(unbounded(schema, schema["$defs"])) == []


@pytest.mark.parametrize("key", ["train.threads", "runtime.workers", "train.batch_size", "fusion.embed_dim", "seed"])
def test_a_count_that_no_machine_can_do_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match=rf"{key}.*less than or equal to"):
        load_config({}, [f"{key}=100000000000"])
