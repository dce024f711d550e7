"""How good the weights are on the validation rows, during training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from data_contracts.training_history import Epoch
from tasks.config import TrainConfig
from tasks.modeling.fusion.classifier import FusedClassifier
from tasks.modeling.inference import predict_inputs
from tasks.problems.registry import figure_text, problem_of, validation_keys
from tasks.progress import note
from tasks.train.dataset import Dataset
from tasks.train.losses import joint_loss
from tasks.train.processes import Processes

BATCH = 256
Outputs = npt.NDArray[np.float32]


def validate(
    model: FusedClassifier, data: Dataset, config: TrainConfig, processes: Processes, balance: Tensor | None = None
) -> tuple[float, dict[str, float]]:
    """The weighted mean loss, and the first column's figure, with all that is present given.

    The loss is the training's, on what every process predicts of its share: the targets are smoothed as in training, for
    against hard ones a model that reaches its smoothed targets looks worse with every epoch, and an early, less accurate one
    would be kept. The same goes for the weights of classes, `balance` (outputs,), of columns, and for what a teacher says.
    """
    first, last = (data.rows * rank // processes.count for rank in (processes.rank, processes.rank + 1))
    found = np.zeros((data.rows, model.outputs), np.float32)
    # On a GPU what fits in training fits here, too; on a CPU there is no such bound, and the batches are prediction's.
    batch = min(BATCH, config.batch_size) if processes.device.type == "cuda" else BATCH
    if last > first:
        with torch.autocast(processes.device.type, torch.bfloat16, enabled=processes.bf16):
            found[first:last] = predict_inputs(model, data.inputs.cut(first, last), batch)
    outputs = processes.sum_arrays(torch.from_numpy(found))
    figures = validation_figures(outputs.numpy(), data)
    if model.targets.is_plain and config.loss == "cross-entropy" and balance is None and data.teacher is None:
        return _cross_entropy(outputs.numpy(), data, config.label_smoothing), figures
    every = torch.arange(data.rows)
    spread = None if model.log_variances is None else model.log_variances.detach().cpu()
    logits, weights = model.targets.logits_of(outputs), torch.from_numpy(data.weights)
    loss = joint_loss(
        logits,
        data.targets.soft(every),
        weights,
        model.targets,
        config,
        None if balance is None else balance.cpu(),
        spread,
    )
    if data.teacher is not None:
        loss = data.teacher.blend(loss, logits, weights, model.targets)
    return float(loss), figures


def _cross_entropy(probabilities: Outputs, data: Dataset, smoothing: float) -> float:
    surprise = -np.log(np.maximum(probabilities.astype(np.float64), 1e-12))  # (N, C)
    chosen = surprise[np.arange(len(surprise)), data.targets.first]
    each = (1 - smoothing) * chosen + smoothing * surprise.mean(axis=1)
    return float(np.average(each, weights=data.weights))


def validation_figures(outputs: Outputs, data: Dataset) -> dict[str, float]:
    """The validation metric of the first column under its key, `val_accuracy`."""
    targets = data.targets.targets
    target = targets.columns[0]
    problem = problem_of(target)
    score = problem.validation_score(outputs[:, targets.slices[0]], data.targets.first, target)
    return {f"val_{problem.validation_metric}": score}


def describe_validation(entry: Epoch) -> str:
    """What a person sees of an epoch while it runs: `val loss 0.4321, accuracy 0.9125`."""
    figures = entry.model_dump(exclude_unset=True)
    parts = [note(f"val loss {entry.val_loss:.4f}")]
    parts += [
        f"{name.removeprefix('val_').replace('_', ' ')} {figure_text(figures[name], name.removeprefix('val_'), decimals=4)}"
        for name in validation_keys()
        if name in figures
    ]
    return ", ".join(parts)
