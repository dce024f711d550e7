"""Embeddings at zero mean and unit variance while a head is trained on them; the trained head takes them as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from data_contracts.refs import InputName
from tasks.modeling.features import Inputs
from tasks.modeling.fusion.classifier import FusedClassifier

EPS = 1e-5
"""Added to a variance, as in torch's batch norms: a number that hardly varies is not blown up."""
CHUNK = 8192  # rows in float64 at once


@dataclass(frozen=True)
class Moments:
    """Of one input over the train rows; the hook of its projection, and an object, so that a copy of the model has it too."""

    mean: Tensor
    """(width,)"""
    deviation: Tensor
    """(width,)"""

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """(P, width) as the projection takes it in."""
        mean, deviation = (part.to(inputs[0].device) for part in (self.mean, self.deviation))
        return ((inputs[0] - mean) / deviation,)


def moments_of(inputs: Inputs) -> dict[InputName, Moments]:
    """Input to the mean and the deviation of its embedding over the rows that have it; an input that no row has is left out."""
    found = {}
    for name, table in inputs.tables.items():
        places = inputs.places[name]
        counts = np.bincount(places[places >= 0], minlength=len(table.lengths)).astype(np.float64)
        if not counts.sum():
            continue
        values = table.values.reshape(len(table.lengths), -1)
        first, second = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        for start in range(0, len(values), CHUNK):
            part, weights = values[start : start + CHUNK].astype(np.float64), counts[start : start + CHUNK]
            first += weights @ part
            second += weights @ part**2
        mean = first / counts.sum()
        variance = np.maximum(second / counts.sum() - mean**2, 0)
        found[name] = Moments(*(torch.from_numpy(part).float() for part in (mean, np.sqrt(variance + EPS))))
    return found


def standardize(model: FusedClassifier, moments: Mapping[InputName, Moments]) -> None:
    """The model's projections take their embeddings standardised; call it before the model is copied."""
    for name, own in moments.items():
        model.projections[name].register_forward_pre_hook(own)


@torch.no_grad()
def fold(model: FusedClassifier, moments: Mapping[InputName, Moments]) -> None:
    """The same answers from embeddings as they are: W (x - m) / d + b = (W / d) x + (b - (W / d) m)."""
    for name, own in moments.items():
        model.projections[name]._forward_pre_hooks.clear()
        linear = _first_layer(model, name)
        weight = linear.weight.double().cpu() / own.deviation.double()
        linear.bias.copy_(linear.bias.double().cpu() - weight @ own.mean.double())
        linear.weight.copy_(weight)


@torch.no_grad()
def unfold(model: FusedClassifier, moments: Mapping[InputName, Moments], taken: Collection[str]) -> None:
    """The reverse, of the projections whose weights were `taken` over, by their names, from a model that reads embeddings as
    they are: standardised, its answers are the same."""
    for name, own in moments.items():
        if f"projections.{name}.0.weight" in taken:
            linear = _first_layer(model, name)
            weight = linear.weight.double().cpu()
            linear.bias.copy_(linear.bias.double().cpu() + weight @ own.mean.double())
            linear.weight.copy_(weight * own.deviation.double())


def _first_layer(model: FusedClassifier, name: InputName) -> nn.Linear:
    return cast(nn.Linear, cast(nn.Sequential, model.projections[name])[0])
