"""A trained model's outputs together with the vectors that it fuses: one for each modality of a row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from data_contracts.refs import FeatureRef, InputName
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.inference import predict_probabilities
from tasks.samples import Samples
from tasks.store import Store


def embed_and_predict(
    model: FusedClassifier, samples: Samples, features: Mapping[InputName, FeatureRef], store: Store
) -> tuple[NDArray[np.float32], dict[InputName, NDArray[np.float32]]]:
    """(N, outputs) as `predict_probabilities` gives them, and of each modality the (P, width) projected vectors of the rows
    that have it; of a blend those of its members, one after the other."""
    seen: dict[InputName, list[list[NDArray[np.float32]]]] = {
        name: [[] for _ in model.fusions] for name in model.modalities
    }

    def keep(name: InputName, place: int, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """A forward hook: the projected vectors of a batch, (B, width), are kept on the CPU."""
        seen[name][place].append(output.float().cpu().numpy())

    hooks = [
        fusion.projections[name].register_forward_hook(partial(keep, name, place))
        for place, fusion in enumerate(model.fusions)
        for name in model.modalities
    ]
    try:
        probabilities = predict_probabilities(model, samples, features, store)
    finally:
        for hook in hooks:
            hook.remove()
    return probabilities, {
        name: np.concatenate([np.concatenate(batches) for batches in parts], axis=1)
        for name, parts in seen.items()
        if parts[0]
    }
