"""Low-rank updates (LoRA, Hu et al., 2021) of pretrained encoders: added before training, merged into the weights after it.

peft is imported where it is needed: with transformers, which it brings, it takes 4 s.
"""

from __future__ import annotations

import re

from torch import nn

from tasks.config import TrainConfig
from tasks.errors import DataError
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.train.finetuning import LORA_MARK, tuned_encoders

# Their forward reads the weights of the layers inside without calling them: an update in there would never be seen.
_READS_WEIGHTS = {
    "MultiheadAttention",
    "ShiftedWindowAttention",
    "ShiftedWindowAttentionV2",
    "ShiftedWindowAttention3d",
    "WavLMAttention",
}


def add_lora(model: FusedClassifier, config: TrainConfig) -> None:
    """Gives every linear layer and 1x1 convolution of the pretrained encoders an update of rank `lora_rank`, at first zero.

    Draws from torch's global generator. Names of the model's parameters change until `merge_lora`. Nothing changes where
    no pretrained encoder is trained. Raises DataError where an encoder has no such layer.
    """
    tuned = tuned_encoders(model)
    if not tuned:
        return
    from peft import LoraConfig, inject_adapter_in_model

    for modality, encoder in tuned.items():
        names = _targets(encoder)
        if not names:
            raise DataError(
                f"train.regime lora: the {modality} encoder {model.specs[modality].encoder!r} has no linear layer or 1x1 "
                "convolution that could be updated; use last-n or full"
            )
        settings = LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,  # any number will do: it is divided by the rank
            target_modules="|".join(re.escape(name) for name in names),  # a list would match endings of names too
        )
        inject_adapter_in_model(settings, encoder)


def merge_lora(model: FusedClassifier) -> None:
    """Adds the updates to the weights and takes them out: names and shapes are those of a model without them."""
    if not any(LORA_MARK in name for name in model.state_dict()):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    for encoder in tuned_encoders(model).values():
        for name, layer in list(encoder.named_modules()):
            if isinstance(layer, BaseTunerLayer):
                layer.merge()
                parent, _, own = name.rpartition(".")
                setattr(encoder.get_submodule(parent), own, layer.get_base_layer())


def _targets(encoder: nn.Module) -> list[str]:
    """Names of the layers that are updated."""
    closed = [name for name, module in encoder.named_modules() if type(module).__name__ in _READS_WEIGHTS]
    return [
        name
        for name, module in encoder.named_modules()
        if (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and _is_pointwise(module)))
        and not any(name.startswith(f"{outer}.") for outer in closed)
    ]


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and layer.groups == 1
