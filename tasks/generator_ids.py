"""Generator ids: what `translate.generator` may say, and what each reads and makes. Imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from data_contracts.refs import Modality
from tasks.encoder_ids import EncoderId, parse_encoder


@dataclass(frozen=True)
class GeneratorKind:
    """What a family of generators does."""

    source: Modality | None
    """What it reads; None: any."""
    target: Modality | None
    """What it makes; None: any."""
    writes: str
    """How an id of it is written."""
    encoder: str = ""
    """The family of encoder ids whose grammar the part behind the colon has; empty: there is no such part."""


KINDS: Mapping[str, GeneratorKind] = MappingProxyType(
    {
        "whisper": GeneratorKind("audio", "text", "whisper:ID_OR_FOLDER[@REVISION]", "hf"),
        "caption": GeneratorKind("image", "text", "caption:ID_OR_FOLDER[@REVISION]", "hf"),
        "imagenet-labels": GeneratorKind("image", "text", "imagenet-labels:NAME[@WEIGHTS]", "torchvision"),
        "tesseract": GeneratorKind("image", "text", "tesseract"),
        "diffusers": GeneratorKind("text", "image", "diffusers:ID_OR_FOLDER[@REVISION]", "hf"),
        "espeak-ng": GeneratorKind("text", "audio", "espeak-ng"),
        "retrieval": GeneratorKind(None, None, "retrieval"),
    }
)
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""What model_index.json may call a pipeline of diffusers."""


@dataclass(frozen=True)
class GeneratorId:
    """A generator id in its parts."""

    family: str
    """A key of KINDS."""
    encoder: str = ""
    """The encoder id that names the same files: `hf:...` or `torchvision:...`; empty where there are none."""

    @property
    def kind(self) -> GeneratorKind:
        """What it does."""
        return KINDS[self.family]

    @property
    def parsed(self) -> EncoderId:
        """The parts of `encoder`."""
        return parse_encoder(self.encoder, self.kind.source or "image")


def parse_generator(text: str) -> GeneratorId:
    """The parts of an id; ValueError with what may be written where it is none."""
    family, colon, rest = text.partition(":")
    kind = KINDS.get(family)
    if kind is None:
        near = difflib.get_close_matches(family, KINDS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        written = ", ".join(each.writes for each in KINDS.values())
        raise ValueError(f"{text!r} is no generator; {hint}write one of {written}")
    if bool(kind.encoder) != bool(rest) or (colon and not rest):
        raise ValueError(f"{text!r} is no generator; write {kind.writes}")
    if not kind.encoder:
        return GeneratorId(family)
    found = GeneratorId(family, f"{kind.encoder}:{rest}")
    try:
        parsed = found.parsed
    except ValueError:
        raise ValueError(f"{text!r} is no generator; write {kind.writes}") from None
    if not parsed.is_pretrained:
        raise ValueError(f"{text!r}: random weights say nothing; name weights that were trained")
    return found
