"""The names of a sample's inputs: its kind, and for further columns of one kind `image_2` to `image_8`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import get_args

from data_contracts.refs import InputName, Modality

ALL_MODALITIES: tuple[Modality, ...] = get_args(Modality)
"""In the order in which names are joined: image+text+audio+video."""
MAX_INPUTS = 8
"""Inputs of one kind that a sample may have."""


def input_name(modality: Modality, number: int) -> InputName:
    """`image` for the first input of a kind, `image_2` for the second."""
    return modality if number == 1 else f"{modality}_{number}"


INPUTS: Mapping[InputName, Modality] = MappingProxyType(
    {input_name(modality, number): modality for modality in ALL_MODALITIES for number in range(1, MAX_INPUTS + 1)}
)
"""Every input's kind, in order: image, image_2, ..., text, text_2, ..."""


def modality_of(name: InputName) -> Modality:
    """What an input is: `image` for `image` and for `image_2`. ValueError for a name that no input can have."""
    if name not in INPUTS:
        raise ValueError(
            f"{name!r} names no input; one is called {', '.join(ALL_MODALITIES)}, "
            f"or {ALL_MODALITIES[0]}_2 to {ALL_MODALITIES[0]}_{MAX_INPUTS}"
        )
    return INPUTS[name]


def in_order(names: Collection[InputName]) -> tuple[InputName, ...]:
    """These inputs, each once, in the order in which they are joined and seen by a model."""
    return tuple(name for name in INPUTS if name in names)
