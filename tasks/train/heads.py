"""Which heads are trained on frozen features for train.heads = auto, and where only one is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from data_contracts.refs import InputName
from tasks.config import FusionConfig, RunConfig, with_settings
from tasks.modeling.card import read_card
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.progress import note

Value = bool | int | float | str
AS_CONFIGURED = "as configured"
_QUICK: Mapping[str, Value] = {"train.early_stopping_patience": 5}
"""With as much patience as a head that is trained by itself has, most epochs of most heads would be wasted."""
_OTHER: Mapping[str, Value] = {**_QUICK, "train.standardize": True, "train.batch_size": 256, "train.epochs": 10}
CANDIDATES: tuple[Mapping[str, Value], ...] = (
    _QUICK,
    {**_OTHER, "fusion.dropout": 0.5, "train.learning_rate": 5e-4, "train.weight_decay": 1.0},
    {**_OTHER, "fusion.embed_dim": 256, "fusion.hidden": 512, "fusion.dropout": 0.7, "train.weight_decay": 5.0},
    {**_OTHER, "fusion.kind": "linear", "train.weight_decay": 10.0},
)
"""Settings besides the configured ones, looked for on the validation rows of CIFAR-10 pictures (docs/decisions.md). The first
is the head as it is configured, so that little can be lost but time."""
CONTINUED: Mapping[str, Value] = {"train.continue_from": "champion"}
"""What a head that is trained further has otherwise, under auto."""
WITHOUT_HIDDEN_LAYER = ("embed_dim", "hidden", "activation", "dropout", "shared_projection", "head_init")
"""Of fusion: what a linear head does not have. Where one of them was changed, a hidden layer is asked for."""


@dataclass(frozen=True)
class HeadCandidate:
    """A head to be trained."""

    settings: Mapping[str, Value]
    """By their dotted keys, what it has otherwise than the config."""
    config: RunConfig
    is_continued: bool = False
    """Whether its weights begin as the champion's."""

    @property
    def name(self) -> str:
        """`fusion.dropout=0.5, train.weight_decay=1`."""
        shown = (value if isinstance(value, str) else json.dumps(value) for value in self.settings.values())
        return ", ".join(f"{key}={text}" for key, text in zip(self.settings, shown, strict=True)) or AS_CONFIGURED


def list_heads(config: RunConfig) -> list[HeadCandidate]:
    """The heads that fit the config, the one as it is configured first.

    A setting that differs from its default holds for all of them; a linear head is left out where one was changed that it
    does not have. Settings that come to the same are tried once.
    """
    changed = changed_settings(config)
    hidden = {f"fusion.{key}" for key in (*WITHOUT_HIDDEN_LAYER, "kind")} & changed
    found: dict[tuple[tuple[str, Value], ...], HeadCandidate] = {}
    for candidate in CANDIDATES:
        if hidden and candidate.get("fusion.kind") == "linear":
            continue
        settings = {key: value for key, value in candidate.items() if key not in changed}
        head = HeadCandidate(MappingProxyType(settings), with_settings(config, settings))
        found.setdefault(tuple(sorted(settings.items())), head)
    return list(found.values())


def heads_to_train(
    config: RunConfig, specs: Mapping[InputName, EncoderSpec], continued: bool
) -> tuple[list[HeadCandidate], str | None]:
    """(heads, why): those that are chosen from; the configured one alone where there is a reason, which is empty where the
    config asks for it."""
    why = why_one_head(config, specs, continued) if config.train.heads == "auto" else ""
    return (list_heads(config), None) if why is None else ([HeadCandidate({}, config)], why)


def continued_head(heads: Sequence[HeadCandidate], fusion: FusionConfig) -> HeadCandidate | None:
    """The champion's head, whose fusion this is, to be trained further under the settings of the one of these heads that has
    the same; None where none has."""
    found = next((head for head in heads if head.config.fusion == fusion), None)
    if found is None:
        return None
    return HeadCandidate(MappingProxyType({**CONTINUED, **found.settings}), found.config, is_continued=True)


def changed_settings(config: RunConfig) -> set[str]:
    """Keys of the sections fusion and train whose value is not the default."""
    before = RunConfig()
    return {
        f"{section}.{key}"
        for section in ("fusion", "train")
        for key, value in getattr(config, section).model_dump().items()
        if value != getattr(getattr(before, section), key)
    }


def continue_fusion(config: RunConfig, champion: Path | None) -> RunConfig:
    """The config with the champion's own fusion, so that its head can be trained further; as it is where there is no champion,
    or a setting of the fusion was changed."""
    if champion is None or any(key.startswith("fusion.") for key in changed_settings(config)):
        return config
    return config.model_copy(update={"fusion": read_card(champion).config.fusion})


def why_one_head(config: RunConfig, specs: Mapping[InputName, EncoderSpec], continued: bool) -> str | None:
    """Why only the configured head is trained under train.heads = auto; None where several are."""
    trained = [name for name, spec in specs.items() if spec.reads != "embedding"]
    if trained:
        return note(f"one head, as it is trained with the encoder of {' and '.join(trained)}")
    if config.train.devices > 1:
        return note("one head, not the best of several: more than one process trains it (train.devices)")
    if continued:
        return note("one head, not the best of several: it starts from the champion's (train.continue_from)")
    return None
