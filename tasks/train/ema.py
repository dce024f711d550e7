"""The exponential moving average of the weights, which is validated and kept."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from tasks.train.divided import is_divided_tensor


def ema_decay_at(step: int, decay: float) -> float:
    """The share of itself that the average keeps at a step, counted from 0: less in the first ones, `decay` at most."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(ema_weights: Mapping[str, Tensor], current: Mapping[str, Tensor], step: int, decay: float) -> None:
    """Moves the average towards the current weights, all but its `ema_decay_at` (as Tarvainen and Valpola, 2017).

    Of a divided tensor each process moves its share; counters are copied.
    """
    floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
    for name in current.keys() - set(floats):
        ema_weights[name].copy_(current[name])
    old, new = ([_own(weights[name]) for name in floats] for weights in (ema_weights, current))
    if floats:
        get_ema_multi_avg_fn(ema_decay_at(step, decay))(old, new, None)  # type: ignore[no-untyped-call]


def _own(tensor: Tensor) -> Tensor:
    return tensor.to_local() if is_divided_tensor(tensor) else tensor
