"""RunConfig: every knob of a run, one default each, with its unit.

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
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator, model_validator

from data_contracts.modalities import KINDS, kind_of
from data_contracts.refs import Kind, Modality
from tasks.config_paths import absolute_paths
from tasks.config_sections import (
    REMOTE_SCHEMES,
    ColumnsConfig,
    MediaConfig,
    MonitorConfig,
    PublishConfig,
    RuntimeConfig,
    Section,
    Share,
    SplitConfig,
)
from tasks.encoder_ids import parse_encoder
from tasks.errors import UsageError

Metric = Literal[
    "accuracy", "macro_f1", "macro_recall", "macro_precision", "auroc",
    "exact_match", "micro_f1", "mean_ap",
    "mae", "rmse", "r2",
]  # fmt: skip


class DataConfig(Section):
    """What to read, and how much may be wrong with it."""

    path: str = "builtin:digits"
    """A manifest file, a folder per class, a folder of tables, or `builtin:digits`."""
    columns: ColumnsConfig = ColumnsConfig()
    allowed_roots: tuple[str, ...] = ()
    """Folders, besides the manifest's own, below which media may lie."""
    allowed_schemes: tuple[str, ...] = ()
    """Schemes of remote stores that cells and the manifest's own path may name, such as s3 or gs; () for local files only."""
    remote_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Time that one remote file may take to fetch."""
    max_manifest_mb: Annotated[float, Field(gt=0)] = 2048.0
    """Size of a manifest file, and of what a Parquet file declares to hold once unpacked, media included."""
    problem: Literal["auto", "multiclass", "multilabel", "regression"] = "auto"
    """multiclass: one label a row. multilabel: any number, separated by | or as a list. regression: a number. auto:
    multiclass, as numbers may name classes."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """Use this many rows, chosen by a stable hash, spread over the given splits; None: all."""
    max_quarantined: Share = 0.10
    """Share of rows that may be quarantined before the run fails."""
    expectations: str | None = None
    """A JSON file with expectations of your own on the manifest's columns; None: ours only."""

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


class EncodersConfig(Section):
    """One encoder id per modality: `tiny`, `torchvision:NAME[@WEIGHTS]`, `hf:ID_OR_FOLDER[@REVISION]`; `off` leaves it out.

    WEIGHTS is a .safetensors file, the name of torchvision's own weights, or `random` to train from scratch.
    """

    image: str = "tiny"
    text: str = "tiny"
    audio: str = "tiny"
    video: str = "tiny"
    share: tuple[Kind, ...] = ()
    """Kinds of which a manifest has several columns (["image"]): their inputs pass through one and the same encoder, trained on
    all of them. (): each input trains one of its own. Frozen encoders are one network either way."""
    image_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side of the square picture that a pretrained encoder of pictures or frames sees; None: what it was trained with."""

    @field_validator("share")
    @classmethod
    def _in_order(cls, share: tuple[Kind, ...]) -> tuple[Kind, ...]:
        return tuple(kind for kind in KINDS if kind in share)

    @field_validator("image", "text", "audio", "video")
    @classmethod
    def _is_known(cls, encoder: str, info: ValidationInfo) -> str:
        if parse_encoder(encoder, info.field_name or "").family == "model":
            raise ValueError("an encoder is tiny, off, torchvision:NAME[@WEIGHTS] or hf:ID_OR_FOLDER[@REVISION]")
        return encoder

    def of(self, name: Modality) -> str:
        """The encoder of an input: that of its kind."""
        found: str = getattr(self, kind_of(name))
        return found


class ExtractConfig(Section):
    """What encoders read, and how extraction is cut into shards."""

    image_px: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Side of the square picture that is stored for an encoder, in pixels; it scales the picture to its own side where that
    differs. None: 32 for tiny, the encoder's own side for others."""
    n_mels: Annotated[int, Field(ge=16, le=128)] = 64
    hop_ms: Annotated[float, Field(ge=1, le=100)] = 10.0
    window_ms: Annotated[float, Field(ge=1, le=200)] = 25.0
    max_frames: Annotated[int, Field(ge=8)] = 1000
    """Log-mel frames kept of a clip (10 s at the default hop)."""
    max_text_bytes: Annotated[int, Field(ge=8)] = 512
    """UTF-8 bytes that the tiny encoder reads of a text."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 256
    """Tokens that a pretrained encoder reads of a text, those that open and close it included."""
    video_px: Annotated[int, Field(ge=16, le=512)] | None = None
    """Side of the square frames that are stored for an encoder; None: as for image_px."""
    shard_rows: Annotated[int, Field(ge=1)] = 512
    """Smallest number of samples in a shard; large tables get larger shards, at most 32 in all."""


class FusionConfig(Section):
    """How the modalities are joined."""

    kind: Literal["concat", "gated", "attention", "late"] = "concat"
    """concat: one vector beside the other. gated: a weighted sum, the weights learned from what is there. attention: a
    transformer over one token per modality. late: every modality votes with its own logits."""
    width: Annotated[int, Field(ge=8)] = 128
    """Every encoder is projected to this width."""
    hidden: Annotated[int, Field(ge=8)] = 256
    """Width of the shared layer."""
    activation: Literal["gelu", "relu", "silu", "tanh"] = "gelu"
    """Of the shared layer, and of those inside the fusion."""
    trunk: Literal["separate", "shared"] = "separate"
    """shared: after their projections all modalities pass through one and the same layer."""
    head_init: Literal["uniform", "truncated-normal"] = "uniform"
    """How the weights of the last layers begin. truncated-normal: small, without bias."""
    dropout: Share = 0.3
    modality_dropout: Share = 0.3
    """Chance that a present modality is hidden from a training sample; one always stays."""


class TrainConfig(Section):
    """The training loop."""

    regime: Literal["auto", "head", "lora", "last-n", "full"] = "auto"
    """What is trained of a pretrained encoder. head: nothing, its embeddings are read from the store. lora: low-rank updates
    of its layers. last-n: its last blocks. full: all of it. auto: head. Encoders from scratch are always trained in full."""
    epochs: Annotated[int, Field(ge=1)] = 25
    head_epochs: Annotated[int, Field(ge=0)] = 5
    """lora, last-n, full: epochs in which only what is new is trained, before the encoders are."""
    last_n: Annotated[int, Field(ge=1)] = 2
    """last-n: how many blocks of each pretrained encoder are trained, counted from its output."""
    norm_statistics: Literal["pretrained", "batch"] = "pretrained"
    """What batch norms of a trained pretrained encoder normalise by. pretrained: the statistics they came with, which suits
    few rows and small batches. batch: those of each batch, whose running mean is what predictions then use."""
    lora_rank: Annotated[int, Field(ge=1)] = 8
    lora_alpha: Annotated[float, Field(gt=0)] = 16.0
    batch_size: Annotated[int, Field(ge=1)] = 64
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are summed into one step of the optimizer."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """The rows of a step pass through the model sorted by the length of their text, in pieces of at most so many tokens (or
    bytes), padding included; the step stays the same. None: in batches of batch_size."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    encoder_learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Of the pretrained weights; their low-rank updates take ten times as much."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the rate of a pretrained block for every block between it and the output; 1: off."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    encoder_weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of the pretrained weights."""
    warmup_share: Share = 0.1
    """Share of the steps over which the learning rate rises."""
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    focal_gamma: Annotated[float, Field(gt=0)] = 2.0
    regression_loss: Literal["smooth-l1", "squared"] = "smooth-l1"
    """Of numbers, standardised on the train rows. smooth-l1: beyond one deviation an error counts in proportion."""
    balance: Literal["none", "class-weights", "sampler"] = "none"
    """Against rare classes: weigh their rows in the loss, or draw them more often."""
    tune_thresholds: bool = False
    """Choose on the validation rows what is added to each class's logit before the decision, for the best macro F1."""
    patience: Annotated[int, Field(ge=1)] = 15
    """Epochs without a better validation loss before training stops."""
    auxiliary: Annotated[float, Field(ge=0)] = 0.3
    """Weight of the loss of each modality's own head, during training only."""
    alignment: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a contrastive loss that draws the modalities of samples with one label together; 0: off."""
    augment: bool = True
    flip: bool = False
    """Mirror pictures at random: right for photographs, wrong for digits and letters."""
    pitch: bool = True
    """Change the pitch of sound at random: right for speech, wrong where the pitch is the class, as in telephone tones."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Pictures: smallest share of the area that a random resized crop keeps; 1: off."""
    trivial_augment: bool = False
    """Pictures: one random operation of random strength each (TrivialAugment)."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Parameter of the Beta distribution by which samples are blended; 0: off."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """The same for pasting a piece of one picture into another; 0: off."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """Share of the running average of the weights kept at each step; the average is what is judged and kept. 0: off."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Keep the state every so many steps, besides after every epoch; None: by the clock, once a minute within an epoch and
    after epochs, less often where writing it would take more than a twentieth (a tenth) of the time."""
    continue_from: Literal["none", "champion"] = "none"
    """champion: start from the weights of the model in production where its labels and network allow."""
    replay: Share = 1.0
    """continue_from: share of the champion's own training rows that are trained on again beside the new ones."""
    gradient_checkpointing: bool = False
    """Compute activations of trained pretrained encoders twice instead of keeping them: less memory, more time, the same
    weights."""
    compile: bool = False
    """torch.compile of the encoders: slower to start, faster on a GPU."""
    threads: Annotated[int, Field(ge=1)] = 2
    """CPU threads of the training process; it is part of the result, as the order of a sum depends on it."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a CUDA device when there is one."""
    devices: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that train together, one a GPU, or on the CPU over gloo; each gets its share of every batch."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """devices > 1. ddp: every process holds the model. fsdp: its weights are divided among them."""


class Rule(Section):
    """One rule of the gate: a metric must reach `min`, stay within `max`, or beat the best answer that is always the same."""

    metric: Literal["auto", Metric]
    """auto: accuracy, mean_ap or mae, by the problem."""
    min: float | None = None
    max: float | None = None
    above_majority: bool = False
    """The answer that is always the same: the most frequent class, or the mean of the train rows."""
    column: str = ""
    """The label column, where there are several; empty: the first."""

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Rule:
        if (self.min is not None) + (self.max is not None) + self.above_majority != 1:
            raise ValueError("a rule takes one of min, max and above_majority = true")
        if self.above_majority and self.metric not in {"auto", "accuracy", "mean_ap", "mae", "rmse"}:
            raise ValueError("above_majority is defined for accuracy, mean_ap, mae and rmse only")
        return self


class GateConfig(Section):
    """What a candidate must show before it replaces the champion."""

    mode: Literal["better", "not-worse"] = "not-worse"
    metric: Literal["auto", Metric] = "auto"
    """The metric on which candidate and champion are compared, on the same test rows. auto: macro_f1, for numbers mae."""
    margin: Annotated[float, Field(ge=0)] = 0.01
    """not-worse: how much of the metric a candidate may lose; of mae and rmse this share of the champion's."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of the interval of candidate minus champion; single figures have 95 %."""
    rules: tuple[Rule, ...] = (Rule(metric="auto", above_majority=True),)
    approval: Literal["auto", "required"] = "auto"
    """auto: a model that passes is promoted. required: it is registered as a pending version and the run ends with
    needs-approval; a person promotes or rejects it (crossmodal models pending)."""
    approval_days: Annotated[float, Field(gt=0)] = 14.0
    """required: how long a candidate may be promoted after its run, in days."""


class RunConfig(Section):
    """Everything a run depends on, besides its data and its code."""

    name: str | None = None
    """The model's name; else the profile's, else the folder's or file's."""
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig = DataConfig()
    media: MediaConfig = MediaConfig()
    split: SplitConfig = SplitConfig()
    encoders: EncodersConfig = EncodersConfig()
    extract: ExtractConfig = ExtractConfig()
    fusion: FusionConfig = FusionConfig()
    train: TrainConfig = TrainConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()
    monitor: MonitorConfig = MonitorConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    def subset(self, *sections: str) -> dict[str, Any]:
        """The named sections (or top-level keys) as plain JSON values: the part of the config that a stage reads."""
        return {name: self.model_dump(mode="json")[name] for name in sections}


def parse_assignment(text: str) -> tuple[list[str], Any]:
    """`train.epochs=3` becomes (["train", "epochs"], 3): the value is JSON where it parses, else the text itself.

    Raises UsageError where there is no `=`.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r}: write KEY=VALUE, for example --set train.epochs=20")
    try:
        return key.strip().split("."), json.loads(value)
    except json.JSONDecodeError:
        return key.strip().split("."), value


def load_config(
    profile: Mapping[str, Any], overrides: Sequence[str] = (), where: str | None = "the profile"
) -> RunConfig:
    """The config of a profile's values with `KEY=VALUE` overrides on top; UsageError names the key and what it takes.

    `where`: what messages call the profile; None where there is none.
    """
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
    if first["type"] == "extra_forbidden":
        inner = first["input"]
        while isinstance(inner, dict) and inner:  # an unknown section: name the whole key that was asked for
            key, inner = next(iter(inner.items()))
            dotted += f".{key}"
        near = difflib.get_close_matches(dotted, list(known_keys(RunConfig)), n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else f"; sections are {', '.join(RunConfig.model_fields)}"
        return f"config key {dotted!r} (from {where}) does not exist{hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"config key {dotted or 'config'!r} = {first['input']!r} (from {where}): {message}"


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of the config."""
    for name, field in model.model_fields.items():
        candidates = [field.annotation, *get_args(field.annotation)]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, Section)), None)
        if section is not None and name != "rules":
            yield from known_keys(section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
