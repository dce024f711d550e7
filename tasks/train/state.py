"""The state of a training run on disk: one safetensors file, replaced in one step after every epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tasks.store import canonical_json, replace_file

STATE = "state.safetensors"
Weights = dict[str, Tensor]


@dataclass
class TrainState:
    """All that an epoch hands to the next; random draws depend on seed and epoch alone, so no generator is kept."""

    model: Weights
    optimizer: dict[str, Weights]
    """Parameter's name to its tensors in the optimizer (step, exp_avg, exp_avg_sq)."""
    average: Weights
    best: Weights
    epoch: int = 0
    """Epochs finished."""
    best_epoch: int = 0
    best_loss: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def save_state(state: TrainState, work: Path) -> None:
    """Puts the state in place; a kill at any moment leaves this state or the one before."""
    tensors = {f"model/{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in state.average.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for name, parts in state.optimizer.items():
        tensors |= {f"optimizer/{name}/{part}": tensor for part, tensor in parts.items()}
    plain = {
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_loss": state.best_loss,
        "history": state.history,
    }
    copied = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    replace_file(work / STATE, save(copied, metadata={"state": canonical_json(plain)}))


def read_state(work: Path) -> TrainState | None:
    """The state left by an earlier run; None where there is none, or it cannot be read and work begins anew."""
    path = work / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        path.unlink(missing_ok=True)
        return None
    groups: dict[str, Weights] = {"model": {}, "average": {}, "best": {}}
    optimizer: dict[str, Weights] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            parameter, _, part = rest.rpartition("/")
            optimizer.setdefault(parameter, {})[part] = tensor
        else:
            groups[kind][rest] = tensor
    return TrainState(groups["model"], optimizer, groups["average"], groups["best"], **plain)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> dict[str, Weights]:
    """The optimizer's tensors by the name of their parameter."""
    return {names[parameter]: dict(parts) for parameter, parts in optimizer.state.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, names: dict[Tensor, str], kept: dict[str, Weights]) -> None:
    """Puts kept tensors back; the step counter stays on the CPU, where AdamW wants it."""
    for parameter, name in names.items():
        if name in kept:
            optimizer.state[parameter] = {
                part: tensor.clone() if part == "step" else torch.empty_like(parameter).copy_(tensor)
                for part, tensor in kept[name].items()
            }
