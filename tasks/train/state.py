"""The state of a training run on disk: what moves in one safetensors file that is replaced in one step, the rest in another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from data_contracts.training_history import Epoch, OutOfMemory
from tasks.store import canonical_json, replace_file

STATE, FIXED = "state.safetensors", "fixed.safetensors"
Weights = dict[str, Tensor]


@dataclass
class Progress:
    """How far a run is, in plain numbers. Random draws depend only on seed, epoch and step: no generator is kept."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps done of the epoch that is under way."""
    stage: int = 0
    """Which of the stages this epoch belongs to."""
    stage_epochs: int = 0
    """Epochs finished of this stage."""
    stale: int = 0
    """Epochs of this stage since the last better validation loss."""
    best_epoch: int = 0
    best_loss: float | None = None
    losses: list[float] = field(default_factory=list)
    """Of the steps of the epoch that is under way."""
    norms: list[float] = field(default_factory=list)
    """Of the gradients, likewise, before clipping."""
    seconds: float = 0.0
    """Of the epoch that is under way."""
    history: list[Epoch] = field(default_factory=list)
    oom_split: OutOfMemory | None = None
    """Where memory ran out and batches were halved."""
    figures: dict[str, float] = field(default_factory=dict)
    """Sums that the figures of speed are made of."""


@dataclass
class TrainState:
    """All that a run needs to resume. Every group holds only the tensors that training moves."""

    model: Weights
    optimizer: dict[str, Weights]
    """Parameter's name to its tensors in the optimizer (step, exp_avg, exp_avg_sq)."""
    ema_weights: Weights
    best: Weights
    progress: Progress = field(default_factory=Progress)


_PROGRESS = TypeAdapter(Progress)


def save_state(state: TrainState, work: Path) -> None:
    """Puts the state in place; a kill at any moment leaves this state or the one before."""
    tensors = {f"model/{name}": tensor for name, tensor in state.model.items()}
    tensors |= {f"average/{name}": tensor for name, tensor in state.ema_weights.items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for name, parts in state.optimizer.items():
        tensors |= {f"optimizer/{name}/{part}": tensor for part, tensor in parts.items()}
    progress = _PROGRESS.dump_python(state.progress, mode="json")
    progress["history"] = [epoch.model_dump(mode="json", exclude_unset=True) for epoch in state.progress.history]
    replace_file(work / STATE, save(_copied(tensors), metadata={"state": canonical_json(progress)}))


def read_state(work: Path) -> TrainState | None:
    """The state left by an earlier run; None where there is none, or it cannot be read and work begins anew."""
    path = work / STATE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = _PROGRESS.validate_json(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
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
    return TrainState(groups["model"], optimizer, groups["average"], groups["best"], progress)


def save_fixed(weights: Weights, work: Path) -> None:
    """Puts the weights in place that training never moves: once, so that no later state has to repeat them."""
    replace_file(work / FIXED, save(_copied(weights)))


def read_fixed(work: Path) -> Weights | None:
    """The weights that `save_fixed` left; None where there are none, or they cannot be read."""
    path = work / FIXED
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError):
        return None


def _copied(tensors: Weights) -> Weights:
    """On the CPU, each with memory of its own, as safetensors wants them."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
