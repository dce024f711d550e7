"""Networks of transformers that generate: from safetensors only, as float32, every tensor there."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from transformers.utils import logging

from tasks.errors import EnvironmentFailed
from tasks.modeling.pretrained.locate import Place
from tasks.modeling.pretrained.transformers_models import LOCAL, one_line


def load_network(kind: Any, generator: str, place: Place) -> Any:
    """The network with its weights, in eval mode, on the GPU where there is one. EnvironmentFailed where they do not fit."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        network, found = kind.from_pretrained(
            place.root, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **LOCAL
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise EnvironmentFailed(
            f"generator {generator}: its weights cannot be read ({one_line(error)}); fetch them again"
        ) from None
    lost = sorted(found["missing_keys"]) + [name for name, *_ in found["mismatched_keys"]]
    if lost:
        raise EnvironmentFailed(
            f"generator {generator}: {len(lost)} tensors are not there or of another shape, for example {lost[0]}; are these "
            f"the weights of a {type(network).__name__}?"
        )
    return network.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")
