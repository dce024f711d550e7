"""What the adapters of transformers share: configs without places and defaults, weights as float32, from files only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from tasks.errors import EnvironmentFailed, UsageError
from tasks.modeling.pretrained.adapter import Pretrained, Settings
from tasks.modeling.pretrained.locate import Place

_UNPORTABLE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures")
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def read_config(encoder: str, place: Place) -> Any:
    """The config of a folder, sub-configs of towers included. UsageError where transformers does not know it."""
    try:
        return AutoConfig.from_pretrained(place.root, **LOCAL)
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise UsageError(f"encoder {encoder}: transformers cannot read its config ({one_line(error)})") from None


def portable(config: PreTrainedConfig) -> dict[str, Any]:
    """All that rebuilds the network, as plain JSON, without where it came from."""
    record = json.loads(json.dumps(config.to_dict(), default=str))
    return {key: value for key, value in record.items() if key not in _UNPORTABLE}


def restore(config: Mapping[str, Any]) -> Any:
    """The config from its portable form; ValueError where a value is of the wrong type."""
    try:
        return AutoConfig.for_model(**config)
    except StrictDataclassError as error:
        raise ValueError(one_line(error)) from None


def processor_of(place: Place, name: str = "preprocessor_config.json") -> dict[str, Any]:
    """The processor's own settings; empty where the folder has none."""
    path = place.root / name
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EnvironmentFailed(f"encoder file {path}: cannot be read ({one_line(error)}); fetch it again") from None
    return dict(found) if isinstance(found, dict) else {}


class Transformer(Pretrained):
    """A network of transformers."""

    network: Any
    """A PreTrainedModel; its attributes differ from family to family."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.network = self.make(restore(settings["config"]))
        config: Any = self.network.config
        self.width = int(getattr(config, "hidden_size", 0) or config.hidden_sizes[-1])

    def make(self, config: Any) -> PreTrainedModel:
        """The network of a config, with random weights, without what this adapter does not use."""
        raise NotImplementedError

    def load(self, place: Place) -> None:
        """Reads the folder's safetensors with transformers, which knows the names that checkpoints use."""
        weights, lost = self.read(place)
        own = self.network.state_dict()
        lost = [name for name in lost if name in own]
        if lost:
            raise EnvironmentFailed(
                f"weights {place.root}: {len(lost)} of {len(own)} tensors are not there or of another shape, for example "
                f"{lost[0]}; are they those of {type(self.network).__name__}?"
            )
        self.network.load_state_dict({name: weights[name] for name in own})

    def read(self, place: Place) -> tuple[dict[str, Tensor], list[str]]:
        """The network's weights by name, and the names that the folder has no weights for."""
        return self.read_as(type(self.network), place)

    def read_as(self, kind: Any, place: Place) -> tuple[dict[str, Tensor], list[str]]:
        """The same for the weights of another class of transformers; EnvironmentFailed where they are damaged."""
        logging.disable_progress_bar()
        try:
            loaded, found = kind.from_pretrained(
                place.root,
                config=self.network.config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **LOCAL,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise EnvironmentFailed(
                f"weights {place.root}: cannot be read ({one_line(error)}); fetch them again"
            ) from None
        lost = sorted(found["missing_keys"]) + [name for name, *_ in found["mismatched_keys"]]
        return loaded.state_dict(), lost


def one_line(error: Exception) -> str:
    """An error's message on one line, cut."""
    return " ".join(str(error).split())[:200]
