"""The section of the config on comparing: which variants of a model are trained beside its own settings, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from data_contracts.refs import Modality
from tasks.config_sections import Section
from tasks.gate_rules import MetricName

GROUPS: Mapping[str, str] = {
    "modalities": "each modality by itself",
    "fusion": "every other way to join the modalities",
    "finetuning": "the other regimes of pretrained encoders: frozen, lora, last-n, full",
    "initialization": "pretrained weights against random ones, and against small networks from scratch",
    "backbones": "the other encoders that compare.backbones names",
    "augmentation": "with or without augmentation, whichever the settings do not have",
    "modality_dropout": "with or without modality dropout, whichever the settings do not have",
    "tasks": "the first label column without the others",
    "classical": "TF-IDF + naive Bayes, HOG + SVM, MFCC + SVM; SVM and logistic regression on embeddings",
    "raw": "a small CNN on pictures, a small GRU on texts and on sounds",
    "custom": "those of compare.custom",
}
"""Group of variants to what it compares with the reference."""
PROFILE = "profile"
"""The variant of the settings as they are."""
MIN_SEEDS = 2
Value = bool | int | float | str
Settings = dict[str, Value]


def _flattened(settings: Any) -> Any:
    """`{"fusion": {"kind": "gated"}}`, as TOML reads a dotted key, becomes `{"fusion.kind": "gated"}`."""
    return dict(_flat(settings, "")) if isinstance(settings, Mapping) else settings


def _flat(settings: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in settings.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found


class CompareConfig(Section):
    """What `crossmodal compare` trains beside the settings as they are, and how they are distinguished."""

    variants: tuple[str, ...] = ("modalities", "classical")
    """Groups (modalities, fusion, finetuning, initialization, backbones, augmentation, modality_dropout, tasks, classical, raw,
    custom) or single variants by name; of a group those that apply to the model."""
    reference: str = PROFILE
    """The variant that all others are compared with; profile: the settings as they are."""
    seeds: Annotated[int, Field(le=1000)] = 3
    """Trainings of each variant, from seeds that all variants share; two at least. One that draws nothing at random is fitted
    once."""
    metric: MetricName = "auto"
    """auto: what the gate compares models on (gate.metric)."""
    epochs: Annotated[int, Field(ge=1, le=10**6)] | None = None
    """Epochs of every variant, where train.epochs is too dear; few of them favour what learns fast. None: train.epochs."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of any false alarm over all comparisons with the reference (Holm); intervals have 1 - alpha."""
    backbones: dict[Modality, tuple[str, ...]] = Field(default_factory=dict)
    """Other encoders of a modality: image = ["torchvision:squeezenet1_1", "torchvision:resnet18"]."""
    custom: dict[str, Annotated[Settings, BeforeValidator(_flattened)]] = Field(default_factory=dict)
    """Further variants by name, each with what it has otherwise: [compare.custom.wide] "fusion.hidden" = 512. Of encoders,
    extract, fusion and train."""

    @field_validator("variants")
    @classmethod
    def _are_named(cls, variants: tuple[str, ...]) -> tuple[str, ...]:
        if not variants:
            raise ValueError(f"is empty: there is nothing to compare; name a group ({', '.join(GROUPS)}) or a variant")
        return tuple(dict.fromkeys(variants))

    @field_validator("seeds")
    @classmethod
    def _are_several(cls, seeds: int) -> int:
        if seeds < MIN_SEEDS:
            raise ValueError(
                "with fewer than two seeds nothing tells a better variant from a luckier start, and there is no interval over "
                f"seeds; take {MIN_SEEDS} or more"
            )
        return seeds

    @field_validator("custom")
    @classmethod
    def _differ_from_groups(cls, custom: dict[str, Settings]) -> dict[str, Settings]:
        for name, settings in custom.items():
            if name in GROUPS or name == PROFILE or "," in name:
                raise ValueError(f"{name!r} cannot name a variant; choose a name that is no group's, without commas")
            if not settings:
                raise ValueError(f"{name!r} has no settings: it would be the reference itself")
        return custom
