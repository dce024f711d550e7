"""timm's networks of pictures, described by a folder of timm's on the hub or of transformers' `timm_wrapper`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.pretrained.adapter import Pixels, Pretrained, Settings
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.transformers_models import one_line
from tasks.packages import missing_packages_named

_WRAPPED = "timm_model."
"""What transformers puts before the names of the weights."""
_DEFAULT_KEYS = ("fixed_input_size", "global_pool", "input_size", "pool_size")
"""Of `pretrained_cfg`: what timm makes a network's defaults from. Where its weights lie, a folder does not say."""
_REPLACED = ("in_chans", "num_classes")
"""Arguments that are given here."""
_HEADS = ("classifier.", "fc.", "head.", "head_dist.")
_SPARE = ("num_batches_tracked",)
_SCALARS = (bool, int, float, str, type(None))


def timm_settings(encoder: str, place: Place) -> Settings:
    """The architecture, and what its pictures are scaled to. UsageError where the folder describes no network of pictures."""
    record = place.config
    shaping = record.get("pretrained_cfg")
    if not isinstance(record.get("architecture"), str) or not isinstance(shaping, dict):
        raise UsageError(f"encoder {encoder}: its config.json names no architecture of timm, or no pretrained_cfg")
    channels, *sides = shaping.get("input_size", (3, 224, 224))
    if channels != 3 or len(set(sides)) != 1:
        raise UsageError(f"encoder {encoder}: reads {channels} x {sides}; pictures are squares of 3 channels")
    arguments = {key: value for key, value in dict(record.get("model_args") or {}).items() if key not in _REPLACED}
    try:
        _require_network(record["architecture"], arguments)
    except ValueError as error:
        raise UsageError(f"encoder {encoder}: {error}") from None
    return {
        "adapter": "timm-pictures",
        "architecture": record["architecture"],
        "model_args": arguments,
        "pretrained_cfg": {key: shaping[key] for key in _DEFAULT_KEYS if key in shaping},
        "px": int(sides[0]),
        "mean": [float(value) for value in shaping.get("mean", (0.485, 0.456, 0.406))],
        "std": [float(value) for value in shaping.get("std", (0.229, 0.224, 0.225))],
        "resample": 2 if shaping.get("interpolation") == "bilinear" else 3,
    }


class Pictures(Pretrained):
    """A network of timm without its classifier; the vector is what that would be fed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        network = _make(settings)
        self.network = network
        self.width = int(getattr(network, "head_hidden_size", None) or network.num_features)
        self.network.to(memory_format=torch.channels_last)
        self.pixels = Pixels(settings["px"], settings["mean"], settings["std"], settings["resample"])

    def load(self, place: Place) -> None:
        """Reads timm's or transformers' names; timm's own filter fits old names and the positions of another side."""
        try:
            found = {key: value for path in place.weights for key, value in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise EnvironmentFailed(
                f"weights {place.root}: cannot be read ({one_line(error)}); fetch them again"
            ) from None
        weights = {name.removeprefix(_WRAPPED): value.float() for name, value in found.items()}
        try:
            result = self.network.load_state_dict(_filtered(weights, self.network), strict=False)
        except (RuntimeError, KeyError, ValueError) as error:
            raise EnvironmentFailed(
                f"weights {place.root}: do not fit {type(self.network).__name__} ({one_line(error)})"
            ) from None
        lost = [name for name in result.missing_keys if not name.endswith(_SPARE)]
        surplus = [name for name in result.unexpected_keys if not name.startswith(_HEADS)]
        if lost or surplus:
            raise EnvironmentFailed(
                f"weights {place.root}: {len(lost)} tensors are not there and {len(surplus)} have no place, for example "
                f"{[*lost, *surplus][0]}; are they those of {type(self.network).__name__}?"
            )

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, 3, S, S) in [0, 1], (B,) unused -> (B, width)."""
        x = self.pixels(x).contiguous(memory_format=torch.channels_last)
        return self.joined(self.network(x).flatten(1))


def _make(settings: Mapping[str, Any]) -> Any:
    """The network with random weights. ValueError where timm has none of the kind."""
    arguments = dict(settings["model_args"])
    timm = _require_network(settings["architecture"], arguments)
    defaults = {key: value for key, value in settings["pretrained_cfg"].items() if key in _DEFAULT_KEYS}
    if defaults.get("fixed_input_size") or "img_size" in arguments:
        arguments["img_size"] = settings["px"]
    return timm.create_model(
        settings["architecture"], pretrained=False, pretrained_cfg=defaults, num_classes=0, **arguments
    )


def _require_network(architecture: str, arguments: Mapping[str, Any]) -> Any:
    """timm. ValueError for an architecture that it does not have, or arguments that are none of a network's.

    A config and a model's card come from elsewhere: nothing that they say may name a file or an address for timm to load.
    """
    with missing_packages_named():
        import timm
    if not timm.is_model(architecture):
        raise ValueError(f"timm {timm.__version__} has no network {architecture!r}")
    reserved = {*inspect.signature(timm.create_model).parameters, "features_only"}
    wrong = [key for key, value in arguments.items() if key in reserved or not _is_plain(value)]
    if wrong:
        raise ValueError(f"model_args.{wrong[0]} is not a setting of a network")
    return timm


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return isinstance(value, _SCALARS)


def _filtered(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """By the function that stands under this name in each of timm's modules that needs one."""
    own = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return weights if own is None else dict(own(weights, network))
