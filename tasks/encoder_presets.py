"""Presets: one encoder for every modality, by size. Imports no torch."""

from __future__ import annotations

from typing import get_args

from tasks.modalities import MODALITIES, Preset, PresetEncoder

PRESETS: tuple[Preset, ...] = get_args(Preset)
FETCH = "preset:"
"""Before a preset's name, what `crossmodal fetch` takes for all of its encoders."""


def encoder_of_each(preset: Preset) -> dict[str, str]:
    """What the preset sets of the config's `encoders`, by modality."""
    return {name: spec.presets[preset].encoder for name, spec in MODALITIES.items() if preset in spec.presets}


def encoders_of(preset: Preset) -> list[PresetEncoder]:
    """The encoders of a preset, each once."""
    return list(dict.fromkeys(spec.presets[preset] for spec in MODALITIES.values() if preset in spec.presets))
