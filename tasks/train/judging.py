"""How good the weights are on the validation rows, while training goes on."""

from __future__ import annotations

import numpy as np
import torch

from tasks.modeling.fusion import FusedClassifier
from tasks.modeling.inference import predict_inputs
from tasks.train.dataset import Dataset
from tasks.train.processes import Processes


def judge(model: FusedClassifier, data: Dataset, smoothing: float, processes: Processes) -> tuple[float, float]:
    """The weighted mean loss, and the accuracy, with all that is present given; every process predicts its share.

    The targets are smoothed as in training: against hard ones, a model that reaches its smoothed targets looks worse
    with every epoch, and an early, less accurate one would be kept.
    """
    first, last = (data.rows * rank // processes.count for rank in (processes.rank, processes.rank + 1))
    found = np.zeros((data.rows, model.outputs), np.float32)
    if last > first:
        with torch.autocast(processes.device.type, torch.bfloat16, enabled=processes.bf16):
            found[first:last] = predict_inputs(model, data.inputs.cut(first, last))
    probabilities = processes.sum_arrays(torch.from_numpy(found)).numpy()
    surprise = -np.log(np.maximum(probabilities.astype(np.float64), 1e-12))  # (N, C)
    chosen = surprise[np.arange(len(surprise)), data.targets]
    each = (1 - smoothing) * chosen + smoothing * surprise.mean(axis=1)
    accuracy = float((probabilities.argmax(axis=1) == data.targets).mean())
    return float(np.average(each, weights=data.weights)), accuracy
