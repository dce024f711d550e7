"""Presets: one encoder for every modality, by size, each with a licence that allows any use. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from data_contracts.refs import Modality

Preset = Literal["offline", "fast", "medium", "best"]
NAMES: tuple[Preset, ...] = get_args(Preset)
FETCH = "preset:"
"""Before a preset's name, what `crossmodal fetch` takes for all of its encoders."""


@dataclass(frozen=True)
class PresetEncoder:
    """An encoder of a preset."""

    encoder: str
    licence: str
    """As its model card, and of torchvision its repository, have it."""
    parameters_m: float
    """Millions of parameters of what is fetched, for Whisper with the decoder, which is not used; four bytes each."""

    @property
    def size_mb(self) -> int:
        """Megabytes to fetch."""
        return round(4 * self.parameters_m)


_MOBILENET = PresetEncoder("torchvision:mobilenet_v2", "BSD-3-Clause", 3.5)
_DINO_SMALL = PresetEncoder("hf:facebook/dinov2-small", "Apache-2.0", 22.1)
_DINO_BASE = PresetEncoder("hf:facebook/dinov2-base", "Apache-2.0", 86.6)

PRESETS: dict[Preset, dict[Modality, PresetEncoder]] = {
    "offline": {},
    "fast": {
        "image": _MOBILENET,
        "text": PresetEncoder("st:all-MiniLM-L6-v2", "Apache-2.0", 22.7),
        "audio": PresetEncoder("hf:openai/whisper-tiny", "Apache-2.0", 37.8),
        "video": _MOBILENET,
    },
    "medium": {
        "image": _DINO_SMALL,
        "text": PresetEncoder("hf:BAAI/bge-base-en-v1.5", "MIT", 109.5),
        "audio": PresetEncoder("hf:openai/whisper-base", "Apache-2.0", 72.6),
        "video": _DINO_SMALL,
    },
    "best": {
        "image": _DINO_BASE,
        "text": PresetEncoder("hf:BAAI/bge-large-en-v1.5", "MIT", 335.1),
        "audio": PresetEncoder("hf:openai/whisper-small", "Apache-2.0", 241.7),
        "video": _DINO_BASE,
    },
}
"""`offline`: no encoder that must be fetched; each modality's own, from scratch."""


def encoder_of_each(preset: Preset) -> dict[str, str]:
    """What the preset sets of the config's `encoders`."""
    return {modality: each.encoder for modality, each in PRESETS[preset].items()}


def encoders_of(preset: Preset) -> list[PresetEncoder]:
    """The encoders of a preset, each once."""
    return list(dict.fromkeys(PRESETS[preset].values()))
