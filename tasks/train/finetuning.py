"""Training regimes: which parameters are trained in which epochs, at which rate, and what stays exactly as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, cast

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from data_contracts.refs import InputName
from tasks.config import TrainConfig
from tasks.modeling.encoder_base import Encoder
from tasks.modeling.encoder_spec import EncoderSpec
from tasks.modeling.fusion.classifier import FusedClassifier

LORA_MARK = ".lora_"
"""In the name of every parameter that peft adds."""
LORA_RATE = 10.0
"""Low-rank updates want about ten times the rate of the weights themselves (Schulman et al., LoRA Without Regret, 2025)."""


class _Blocks(Protocol):
    """What a pretrained encoder offers besides being one."""

    def blocks(self) -> list[nn.Module]:
        """Its blocks from input to output."""


class Stage(NamedTuple):
    """A stretch of epochs in which the same parameters are trained, with a schedule of its own."""

    name: str
    epochs: int
    trains_encoders: bool
    """Whether pretrained weights move; what is new is always trained."""


def stages_of(config: TrainConfig, specs: Mapping[InputName, EncoderSpec]) -> tuple[Stage, ...]:
    """The stages of a training run, in order.

    Without a trainable pretrained encoder one stage of `epochs`. With one, `head_epochs` for what is new, and then
    `epochs` for all: a random head would otherwise send large gradients into weights that were good (Kumar et al.,
    Fine-Tuning Can Distort Pretrained Features, 2022).
    """
    if not any(_is_tuned(spec) for spec in specs.values()):
        frozen = all(spec.reads == "embedding" for spec in specs.values())
        return (Stage("head" if frozen else "full", config.epochs, True),)
    stages = (Stage("head", config.head_epochs, False), Stage(config.regime, config.epochs, True))
    return tuple(stage for stage in stages if stage.epochs)


def freeze(model: FusedClassifier, stage: Stage, config: TrainConfig) -> None:
    """Leaves gradients on for what this stage trains, off for the rest, and the model in training mode.

    Call it when a stage begins, after `add_lora` where the regime is lora, and `enter_training` before every epoch.
    """
    for encoder in tuned_encoders(model).values():
        trained = _trained_names(encoder, config) if stage.trains_encoders else frozenset()
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(name in trained)
    enter_training(model, config)


def enter_training(model: FusedClassifier, config: TrainConfig) -> None:
    """Puts the model in training mode, all of a pretrained encoder that is frozen excepted.

    There, batch norms neither use nor move the statistics of a batch, and nothing is dropped. Under `norm_statistics =
    pretrained` that holds for the batch norms of trained blocks too. Where a process trains a wrapped model, call this with
    the model inside, after the wrapper's own `train()`.
    """
    model.train()
    keep = config.norm_statistics == "pretrained"
    for encoder in tuned_encoders(model).values():
        for module in encoder.modules():
            parameters = list(module.parameters())
            frozen = bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
            if frozen or (keep and isinstance(module, _BatchNorm)):
                module.eval()


def parameter_groups(model: FusedClassifier, config: TrainConfig) -> list[dict[str, Any]]:
    """What any stage trains, as groups for an optimizer: `params`, `weight_decay`, and the peak rate as `lr` and `initial_lr`.

    New parameters and those of encoders from scratch: `learning_rate`, `weight_decay`. Pretrained ones:
    `encoder_learning_rate` times `layer_decay` for every block between them and the output, `encoder_weight_decay`.
    Biases, norms and all else of one axis does not decay, nor do low-rank updates. The order depends only on the model.
    """
    pretrained: dict[Tensor, tuple[float, float]] = {}
    never: set[Tensor] = set()
    for encoder in tuned_encoders(model).values():
        trained, distances = _trained_names(encoder, config), _distances(encoder)
        for name, parameter in encoder.named_parameters():
            if name not in trained:
                never.add(parameter)
                continue
            rate = config.encoder_learning_rate * config.layer_decay ** distances[parameter]
            low_rank = LORA_MARK in f".{name}"
            pretrained[parameter] = (rate * LORA_RATE, 0.0) if low_rank else (rate, config.encoder_weight_decay)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for parameter in model.parameters():
        if parameter in never:
            continue
        rate, decay = pretrained.get(parameter, (config.learning_rate, config.weight_decay))
        groups.setdefault((rate, 0.0 if _is_flat(parameter) else decay), []).append(parameter)
    return [
        {"params": params, "weight_decay": decay, "lr": rate, "initial_lr": rate}
        for (rate, decay), params in groups.items()
    ]


def tuned_encoders(model: FusedClassifier) -> dict[InputName, Encoder]:
    """The pretrained encoders whose weights are part of the model; one that several inputs share once, under the first."""
    built = dict(model.encoders.items())
    return {name: built[name] for name, spec in model.specs.items() if name in built and _is_tuned(spec)}  # type: ignore[misc]


def _is_tuned(spec: EncoderSpec) -> bool:
    return spec.reads == "inputs" and spec.weights_sha256 is not None


def _trained_names(encoder: Encoder, config: TrainConfig) -> frozenset[str]:
    """The parameters of a pretrained encoder that its regime trains once the head has been."""
    if config.regime == "lora":
        return frozenset(name for name, _ in encoder.named_parameters() if LORA_MARK in f".{name}")
    if config.regime == "last-n":
        distances = _distances(encoder)
        return frozenset(name for name, parameter in encoder.named_parameters() if distances[parameter] < config.last_n)
    return frozenset(name for name, _ in encoder.named_parameters())


def _distances(encoder: Encoder) -> dict[Tensor, int]:
    """Parameter to the number of blocks between it and the encoder's output.

    What lies in no block counts as before the first one where it is registered before it (embeddings, stem), else as
    after the last one (the final norm).
    """
    blocks = cast(_Blocks, encoder).blocks()
    distances: dict[Tensor, int] = {
        parameter: len(blocks) - 1 - place for place, block in enumerate(blocks) for parameter in block.parameters()
    }
    far = len(blocks)
    for parameter in list(encoder.parameters()):
        if parameter in distances:
            far = 0
        else:
            distances[parameter] = far
    return distances


def _is_flat(parameter: Tensor) -> bool:
    """True for a scalar or a single axis, also one written as (C, 1, 1), as ConvNeXt's layer scale is."""
    return parameter.ndim <= 1 or (parameter.ndim > 2 and sum(side > 1 for side in parameter.shape) <= 1)
