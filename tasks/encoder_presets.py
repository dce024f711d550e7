"""Presets: one encoder for every modality, by size. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from tasks.encoder_ids import AUTO, BUILT_IN
from tasks.modalities import MODALITIES, Preset, PresetEncoder

PRESETS: tuple[Preset, ...] = get_args(Preset)
FETCH = "preset:"
"""Before a preset's name, what `crossmodal fetch` takes for all of its encoders."""


def encoder_of_each(preset: Preset) -> dict[str, str]:
    """What the preset sets of the config's `encoders`, by modality."""
    return {name: spec.presets[preset].encoder for name, spec in MODALITIES.items() if preset in spec.presets}


def switch_preset(encoders: Mapping[str, Any], new: str) -> dict[str, str]:
    """What another preset changes of these `encoders` of a config, by modality: those that their own preset filled in, and in
    the place of `offline` those of ours. None of them is left open: a study knows its encoders."""
    filled, fills = encoder_of_each(encoders["preset"]), encoder_of_each(cast(Preset, new))
    found = {name: fills.get(name, BUILT_IN[0]) for name, encoder in filled.items() if encoders[name] == encoder}
    ours = [name for name in fills if name not in filled and encoders[name] in (*BUILT_IN, AUTO)]
    return found | {name: fills[name] for name in ours}


def encoders_of(preset: Preset) -> list[PresetEncoder]:
    """The encoders of a preset, each once."""
    return list(dict.fromkeys(spec.presets[preset] for spec in MODALITIES.values() if preset in spec.presets))
