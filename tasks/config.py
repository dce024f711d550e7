"""RunConfig: every setting of a run, one default each, with its unit.

Precedence: these defaults < the profile's TOML < `--set KEY=VALUE`. A profile holds only what differs. A relative path
in a profile is relative to its file, one in `--set` to the current folder; the config holds both absolute.
"""

from __future__ import annotations

import copy
import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    JsonValue,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from tasks.config_compare import CompareConfig
from tasks.config_compress import CompressConfig
from tasks.config_explain import ExplainConfig
from tasks.config_paths import absolute_paths
from tasks.config_sections import (
    REMOTE_SCHEMES,
    AuditConfig,
    ColumnsConfig,
    CsvConfig,
    EvaluateConfig,
    Layout,
    MediaConfig,
    MediaPathsConfig,
    MonitorConfig,
    PublishConfig,
    RuntimeConfig,
    Section,
    Share,
    SplitConfig,
)
from tasks.config_training import EncodersConfig, ExtractConfig, FusionConfig, TrainConfig
from tasks.config_translate import TranslateConfig
from tasks.config_tune import TuneConfig
from tasks.encoder_presets import switch_preset
from tasks.errors import UsageError
from tasks.gate_rules import MetricName, Rule, is_built_in
from tasks.problems.registry import PROBLEMS, unknown_name

__all__ = [
    "MODEL_SECTIONS", "DataConfig", "EncodersConfig", "ExtractConfig", "FusionConfig", "GateConfig", "Rule", "RunConfig",
    "TrainConfig", "known_keys", "load_config", "nearest_key", "parse_assignment", "read_profile", "with_settings",
]  # fmt: skip


MODEL_SECTIONS = ("encoders", "extract", "fusion", "train")
"""They shape the model. The others decide which rows are trained, validated and tested on, or what becomes of the model: models
that differ in them cannot be compared."""


def _known_problem(name: str) -> str:
    if name != "auto" and name not in PROBLEMS:
        raise ValueError(unknown_name(name, "problem", ("auto", *PROBLEMS)))
    return name


Problem = Annotated[
    str, AfterValidator(_known_problem), WithJsonSchema({"type": "string", "enum": ["auto", *PROBLEMS]})
]
"""`auto`, or a problem of tasks.problems.registry."""


RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "data.sample": "data.max_rows",
        "encoders.share": "encoders.shared",
        "fusion.trunk": "fusion.shared_projection",
        "fusion.width": "fusion.embed_dim",
        "train.accumulate": "train.gradient_accumulation_steps",
        "train.alignment": "train.contrastive_weight",
        "train.auxiliary": "train.unimodal_loss_weight",
        "train.average_decay": "train.ema_decay",
        "train.balance": "train.class_balance",
        "train.clip_norm": "train.max_grad_norm",
        "train.crop": "train.min_crop_scale",
        "train.flip": "train.horizontal_flip",
        "train.patience": "train.early_stopping_patience",
        "train.warmup_share": "train.warmup_ratio",
    }
)
"""Keys that took the names that PyTorch, transformers and scikit-learn have for them."""


class DataConfig(Section):
    """What to read, and how much may be wrong with it."""

    path: str = "builtin:digits"
    """A manifest file, a folder per class, a folder of tables, or `builtin:digits`."""
    config: str | None = None
    """The configuration of a data set of the Hugging Face hub: the folder of its tables, where there are several."""
    layout: Layout = "auto"
    """What a folder is taken for. auto: its manifest.*, lists of its files, its train, val and test tables, the one table
    that names its files, else a folder per class. tables: its train, val and test tables, or the parts
    of one table. lists: its lists of files. folders: a folder per class, whatever tables are beside them."""
    table: str | None = None
    """The one table of a folder that is read, as a path from there; None: found as data.layout says."""
    columns: ColumnsConfig = ColumnsConfig()
    find_columns: bool = True
    """Find columns by their names, and by what they hold. false: only those that data.columns names are read."""
    csv: CsvConfig = CsvConfig()
    media: MediaPathsConfig = MediaPathsConfig()
    allowed_roots: tuple[str, ...] = ()
    """Folders, besides the manifest's own, below which media may lie."""
    allowed_schemes: tuple[str, ...] = ()
    """Schemes of remote stores that cells and the manifest's own path may name, such as s3 or gs; () for local files only."""
    remote_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Time that one remote file may take to fetch."""
    max_manifest_mb: Annotated[float, Field(gt=0, le=10**6)] = 2048.0
    """Size of a manifest file, and of what a Parquet file declares to hold once unpacked, media included."""
    problem: Problem = "auto"
    """multiclass: one label a row. multilabel: any number, separated by | or as a list. regression: a number. auto:
    multiclass, as numbers may name classes."""
    label_separator: Annotated[str, Field(min_length=1)] = "auto"
    """Between the labels of a set in a cell, a space for any white space. auto: | , ; or white space, where the parts recur.
    none: a cell is one label, or a list that is written out."""
    cell_separator: Annotated[str, Field(min_length=1)] | None = None
    """Between several media in one cell (front.jpg;back.jpg): each becomes a row with the same label, all of one group. None:
    a cell names one medium."""
    max_rows: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Use this many rows, chosen by a stable hash, spread over the given splits; None: all."""
    max_quarantined: Share = 0.10
    """Share of rows that may be quarantined before the run fails."""
    min_class_rows: Annotated[int, Field(ge=1, le=10**9)] = 2
    """Rows of a class that has fewer are quarantined (rare-class), where two larger classes remain; 1: none are."""
    time_format: str = "auto"
    """How times are written, as strptime has it (%d/%m/%Y). auto: numbers, ISO 8601, or the usual form that all have. iso:
    numbers and ISO 8601."""
    expectations: str | None = None
    """A JSON file with expectations of your own on the manifest's columns; None: ours only."""
    corrections: str | None = None
    """A table of id, label and new label, as `crossmodal audit` writes one and a person has looked through it; None: none."""

    @field_validator("allowed_schemes")
    @classmethod
    def _is_a_remote_store(cls, schemes: tuple[str, ...]) -> tuple[str, ...]:
        lowered = tuple(scheme.lower() for scheme in schemes)
        for scheme in lowered:  # file, local, zip, simplecache and the like would lead around data.allowed_roots
            if scheme not in REMOTE_SCHEMES:
                raise ValueError(
                    f"{scheme!r} is not the scheme of a remote store; accepted: {', '.join(REMOTE_SCHEMES)}"
                )
        return lowered


class GateConfig(Section):
    """What a candidate must show before it replaces the champion."""

    mode: Literal["better", "not-worse"] = "not-worse"
    """not-worse: a loss of the margin or more must be ruled out. better: a gain must be shown."""
    metric: MetricName = "auto"
    """The metric on which candidate and champion are compared, on the same test rows. auto: macro_f1, for numbers mae."""
    margin: Annotated[float, Field(ge=0, le=1)] = 0.02
    """What a candidate may lose of the metric, in its unit (0.02: two points of macro F1); of mae and rmse this share of the
    champion's."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the interval of candidate minus champion; single figures have 95 %. A higher one promotes less, never more."""
    anchor: Literal["best", "off"] = "best"
    """best: not-worse also of the best champion so far, so that small losses do not add up. off: of the champion only."""
    min_rows: Annotated[int, Field(ge=1, le=10**9)] = 50
    """Test rows that neither model has seen, or both, without which the comparison is inconclusive."""
    slice_alpha: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Chance of any false alarm over all classes, sets of modalities and evaluate.slices together (Holm) on whose rows a
    candidate must not be worse than the champion; 0: they are not tested."""
    min_slice_rows: Annotated[int, Field(ge=1, le=10**9)] = 20
    """Test rows from which on a class, a set of modalities or a slice is tested, and has an interval."""
    rules: tuple[Rule, ...] = (Rule(metric="auto", above_majority=True),)
    """What figures must be, one line of the gate's table each; see below."""
    approval: Literal["auto", "required"] = "auto"
    """auto: a model that passes is promoted. required: it is registered as a pending version and the run ends with
    needs-approval; a person promotes or rejects it (crossmodal models pending)."""
    approval_days: Annotated[float, Field(gt=0, le=36_500)] = 14.0
    """required: how long a candidate may be promoted after its run, in days."""


class RunConfig(Section):
    """Everything a run depends on, besides its data and its code."""

    name: str | None = None
    """The model's name; else the profile's, else the folder's or file's."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    data: DataConfig = DataConfig()
    media: MediaConfig = MediaConfig()
    split: SplitConfig = SplitConfig()
    encoders: EncodersConfig = EncodersConfig()
    extract: ExtractConfig = ExtractConfig()
    fusion: FusionConfig = FusionConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()
    monitor: MonitorConfig = MonitorConfig()
    tune: TuneConfig = TuneConfig()
    compare: CompareConfig = CompareConfig()
    compress: CompressConfig = CompressConfig()
    audit: AuditConfig = AuditConfig()
    explain: ExplainConfig = ExplainConfig()
    translate: TranslateConfig = TranslateConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _measures_what_rules_ask(self) -> RunConfig:
        named = next((rule.corruption for rule in self.gate.rules if rule.corruption), None)
        if named is not None and self.evaluate.robustness == "off":
            raise ValueError(
                f"a rule of the gate is about {named}, and evaluate.robustness = off; set it to auto or on"
            )
        return self

    @property
    def slices(self) -> tuple[str, ...]:
        """Those by columns of the manifest: of evaluate.slices, and those that rules of the gate name."""
        named = [*self.evaluate.slices, *(rule.slice_name for rule in self.gate.rules if rule.slice)]
        return tuple(dict.fromkeys(name for name in named if not is_built_in(name)))

    def subset(self, *sections: str) -> dict[str, JsonValue]:
        """The named sections (or top-level keys) as plain JSON values: the part of the config that a stage reads."""
        return {name: self.model_dump(mode="json")[name] for name in sections}


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`train.epochs=3` becomes (["train", "epochs"], 3): the value is JSON, or a table or array of TOML, where it
    parses, else the text itself.

    Raises UsageError where there is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r}: write KEY=VALUE, for example --set train.epochs=20")
    return key.strip().split("."), _read_value(value)


def _read_value(text: str) -> Any:
    """JSON, or an inline table or array of TOML, as it stands in a profile; else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        pass
    if not text.strip().startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def load_config(
    profile: Mapping[str, Any], overrides: Sequence[str] = (), where: str | None = "the profile"
) -> RunConfig:
    """The config of a profile's values with `KEY=VALUE` overrides on top; UsageError names the key and what it takes.

    `where`: what messages call the profile; None where there is none.
    """
    try:
        return _load_config(profile, overrides, where)
    except RecursionError:
        source = "--set" if where is None else f"{where}, or --set"
        text = f"config (from {source}): a value is nested too deeply; no setting has more than three levels"
        raise UsageError(text) from None


def with_settings(config: RunConfig, settings: Mapping[str, bool | int | float | str]) -> RunConfig:
    """The config with these settings, checked as those of a profile are. Raises UsageError."""
    texts = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    values = config.model_dump(mode="json")
    if "encoders.preset" in settings:  # what the former preset filled in is for the new one to fill in
        values["encoders"] |= switch_preset(values["encoders"], str(settings["encoders.preset"]))
    return load_config(values, texts, "the profile")


def _load_config(profile: Mapping[str, Any], overrides: Sequence[str], where: str | None) -> RunConfig:
    values = copy.deepcopy(dict(profile))
    for text in overrides:
        keys, value = parse_assignment(text)
        _assign(values, keys, _seen_from_here(keys, value), text)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = ".".join(str(part) for part in error.errors()[0]["loc"])
        source = next(
            (f"--set {text}" for text in reversed(overrides) if _concerns(text, first)), where or "the settings"
        )
        raise UsageError(_explain(error, source)) from None


def _concerns(text: str, dotted: str) -> bool:
    """Whether an override is about the key of an error: the same, a section of it, or a value inside it."""
    key = text.partition("=")[0].strip()
    return dotted == key or dotted.startswith(f"{key}.") or key.startswith(f"{dotted}.")


def read_profile(path: Path) -> dict[str, Any]:
    """The values of a profile file, its relative paths made absolute; UsageError when it cannot be read or is not TOML."""
    try:
        return absolute_paths(tomllib.loads(path.read_text(encoding="utf-8")), path.absolute().parent)
    except OSError as error:
        raise UsageError(f"profile {path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"profile {path}: not readable as TOML ({error})") from None
    except RecursionError:
        raise UsageError(f"profile {path}: nested too deeply; no setting has more than three levels") from None


def _seen_from_here(keys: list[str], value: Any) -> Any:
    """The value of a `--set` with every relative path in it made absolute, as seen from the current folder."""
    nested = value
    for key in reversed(keys):
        nested = {key: nested}
    found: Any = absolute_paths(nested, Path.cwd())
    for key in keys:
        found = found[key]
    return found


def _assign(values: dict[str, Any], keys: list[str], value: Any, text: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {text!r}: {key!r} is a value, not a section")
    values[keys[-1]] = value


def _explain(error: ValidationError, where: str) -> str:
    """The first problem of a validation error as one line, with the nearest known key for a misspelt one."""
    first = error.errors()[0]
    dotted = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden" and dotted in RENAMED:
        return f"config key {dotted!r} (from {where}) is called {RENAMED[dotted]!r} now"
    if first["type"] == "extra_forbidden":
        inner = first["input"]
        while isinstance(inner, dict) and inner:  # an unknown section: name the whole key that was asked for
            key, inner = next(iter(inner.items()))
            dotted += f".{key}"
        entry = dotted.rpartition(".")[0]
        in_rules = [f"{entry}.{key}" for key in Rule.model_fields] if entry.startswith("gate.rules.") else []
        near = nearest_key(dotted, in_rules or list(known_keys(RunConfig)))
        hint = f"; did you mean {near!r}?" if near else f"; sections are {', '.join(RunConfig.model_fields)}"
        return f"config key {dotted!r} (from {where}) does not exist{hint}"
    message = _TAKES.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    if "class_name" in first.get("ctx", {}):
        message += f" of {first['ctx']['class_name']}"
    key = f"config key {dotted!r}" if dotted else "config"
    together = first["type"] == "value_error" and isinstance(first["input"], dict)  # of keys, which the message names
    shown = "" if together else f" = {first['input']!r}"
    return f"{key}{shown} (from {where}): {message}"


_TAKES = {
    **dict.fromkeys(("tuple_type", "list_type", "set_type"), "takes a list, [VALUE, ...]"),
    **dict.fromkeys(
        ("union_tag_not_found", "union_tag_invalid"),
        'takes {type = "float", low = …, high = …}, {type = "int", low = …, high = …} or {type = "categorical", choices = […]}',
    ),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "takes a table, {KEY = VALUE, ...}"),
}
"""Kind of pydantic's errors to what the key takes, in the words of a profile's TOML."""


def nearest_key(key: str, known: Sequence[str]) -> str | None:
    """What a key that does not exist may mean: its name of today, else the most similar one; None where none is."""
    near = [RENAMED[key]] if key in RENAMED else difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return near[0] if near else None


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of the config."""
    for name, field in model.model_fields.items():
        candidates = [field.annotation, *get_args(field.annotation)]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)
        if section is not None and name != "rules":
            yield from known_keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
