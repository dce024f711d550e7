"""Encoder ids: what `encoders.image` and its like may say, where the weights lie, and what they are. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from data_contracts.refs import Modality
from tasks.errors import UsageError
from tasks.modalities import MODALITIES

Family = Literal["tiny", "classical", "auto", "off", "torchvision", "hf", "model"]
Reads = Literal["embedding", "inputs"]
MOST_LAYERS = 10_000
Layer = Annotated[int, Field(ge=1, le=MOST_LAYERS)] | Literal["last"]
"""Of a frozen encoder: a layer's number, from 1, or what the network itself gives."""
Layers = Literal["last", "auto"] | tuple[Layer, ...]
"""What `encoders.layers` may say of a modality."""
WEIGHTS = ".safetensors"
"""The only files that weights are read from."""
RANDOM = "random"
"""As weights: none; the network is trained from scratch."""

BUILT_IN = ("tiny", "classical")
"""Encoders of ours, which read the same inputs: a network that is trained, and features that are computed."""
BLEND = "+".join(BUILT_IN)
"""What `auto` may come to: both answer (tasks/train/blending.py). No config says it: what is read is what `tiny` reads."""
AUTO = "auto"
"""Either of these, as the validation rows say: only a retrain chooses, and all that follows knows the one that it chose."""
DEFAULTS: Mapping[str, str] = MappingProxyType(
    {name: BUILT_IN[0] if spec.classical_scaling is None else AUTO for name, spec in MODALITIES.items()}
)
"""The encoder of a modality that neither the config nor its preset names."""

FORMS = "an encoder is tiny, classical, auto, off, torchvision:NAME[@WEIGHTS], hf:ID_OR_FOLDER[@REVISION], timm:NAME or st:NAME"
ORGANIZATIONS = {"timm": "timm", "st": "sentence-transformers"}
"""Short for the models of an organization on the hub: `timm:NAME` is `hf:timm/NAME`."""

_NAME = re.compile(r"[A-Za-z0-9_]+")
_NAME_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class EncoderId:
    """An encoder id in its parts."""

    family: Family
    name: str = ""
    """torchvision: the model's name. hf: a hub id or a folder. model: the folder of a trained model that holds the encoder."""
    version: str | None = None
    """torchvision: a .safetensors file, the name of torchvision's weights, or `random`. hf: a revision. None: the default."""

    @property
    def is_pretrained(self) -> bool:
        """Whether it brings weights of its own."""
        return self.family in ("torchvision", "hf") and self.version != RANDOM

    @property
    def names_file(self) -> bool:
        """Whether the part behind the @ is a weights file, not the name of torchvision's weights."""
        return self.version is not None and (self.version.endswith(WEIGHTS) or "/" in self.version)

    @property
    def names_folder(self) -> bool:
        """Whether what is named can only be a folder, not a hub id."""
        return self.name.startswith(("/", ".", "~"))


def parse_encoder(encoder: str, modality: Modality) -> EncoderId:
    """The parts of an id; ValueError with what may be written where it is none, or cannot read this modality."""
    if encoder in ("classical", AUTO) and MODALITIES[modality].classical_scaling is None:
        raise ValueError(f"{modality} has no classical features; use tiny, or off")
    for alone in ("tiny", "classical", "auto", "off"):
        if encoder == alone:
            return EncoderId(alone)
    family, colon, rest = encoder.partition(":")
    if family == "model" and rest:
        return EncoderId("model", rest)
    if family == "torchvision" and colon:
        name, at, version = rest.partition("@")
        _require_family(family, modality)
        if not _NAME.fullmatch(name) or (at and not version):
            raise ValueError(
                "write torchvision:NAME or torchvision:NAME@WEIGHTS, for example torchvision:resnet18@random"
            )
        return EncoderId("torchvision", name, version or None)
    if family in ("hf", *ORGANIZATIONS) and colon:
        _require_family(family, modality)
        name, at, version = rest.rpartition("@") if "@" in rest else (rest, "", "")
        if not name or (at and not version):
            raise ValueError("write hf:ID, hf:FOLDER or hf:ID@REVISION, for example hf:google-bert/bert-base-uncased")
        return EncoderId("hf", _hub_id(family, name), version or None)
    raise ValueError(FORMS)


def _hub_id(family: str, name: str) -> str:
    organization = ORGANIZATIONS.get(family)
    if organization is None:
        return name
    if not _NAME_ON_HUB.fullmatch(name):
        raise ValueError(f"write {family}:NAME, short for hf:{organization}/NAME; of a folder, hf:FOLDER")
    return f"{organization}/{name}"


def _require_family(family: str, modality: Modality) -> None:
    known = MODALITIES[modality].families
    if family not in known:
        instead = "tiny, or hf:ID_OR_FOLDER" if "hf" in known else "tiny, or off"
        raise ValueError(f"{family} has no encoder of {modality}; use {instead}")


def encoder_reads(encoder: str, modality: Modality, regime: str) -> Reads:
    """What training reads of a modality: the frozen encoder's embedding, or what a trained encoder takes in.

    UsageError for `auto`, of which that is not known before one is chosen.
    """
    if encoder == AUTO:
        raise UsageError(f"encoders.{modality} = auto: only a retrain chooses an encoder; name {' or '.join(BUILT_IN)}")
    parsed = parse_encoder(encoder, modality)
    frozen = parsed.family == "classical" or (parsed.is_pretrained and regime in ("auto", "head"))
    return "embedding" if frozen else "inputs"
