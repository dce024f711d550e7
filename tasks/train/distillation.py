"""What a student learns from a teacher besides the labels: its answers, softened, and which rows are alike to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from data_contracts.compression import Distillation
from tasks.config import TrainConfig
from tasks.errors import EnvironmentFailed
from tasks.modeling.targets import Targets
from tasks.problems.registry import problem_of
from tasks.store import Store

PLAIN = TrainConfig(label_smoothing=0.0)
"""A teacher's answers are soft already."""


@dataclass(frozen=True)
class Teacher:
    """What the teacher says of N rows."""

    settings: Distillation
    outputs: Tensor
    """(N, outputs) as predictions have them: shares and numbers."""
    fused: Tensor | None
    """(N, hidden of the teacher) what its head reads."""

    def to(self, device: torch.device) -> Teacher:
        """The same on a device."""
        fused = None if self.fused is None else self.fused.to(device)
        return replace(self, outputs=self.outputs.to(device), fused=fused)

    def take(self, rows: Tensor) -> Teacher:
        """Some of the rows."""
        fused = None if self.fused is None else self.fused.index_select(0, rows)
        return replace(self, outputs=self.outputs.index_select(0, rows), fused=fused)

    def blend(self, loss: Tensor, logits: Tensor, weights: Tensor, targets: Targets) -> Tensor:
        """The loss against the labels with the teacher's part beside it (Hinton, Vinyals & Dean, 2015)."""
        settings = self.settings
        taught = soft_loss(logits, self.outputs, weights, targets, settings.temperature)
        return (1 - settings.alpha) * loss + settings.alpha * taught

    def compare_features(self, fused: Tensor | None) -> Tensor | None:
        """The weighted loss of the fused features; None where it is off, or either network has none."""
        if not self.settings.features_weight or fused is None or self.fused is None:
            return None
        return self.settings.features_weight * similarity_loss(fused, self.fused)


def soft_loss(logits: Tensor, outputs: Tensor, weights: Tensor, targets: Targets, temperature: float) -> Tensor:
    """The mean over rows of what the answers differ: 0 where the student, `logits` (B, outputs), says what the teacher does.

    Of classes it is the Kullback-Leibler divergence of shares softened by the temperature, times its square, so that gradients
    are as large at any temperature; of labels that of each label's share; numbers are compared as they are.
    """
    logits, taught = logits.float(), targets.logits_of(outputs)
    total = logits.new_zeros(())
    for target, cut in zip(targets.columns, targets.slices, strict=True):
        problem = problem_of(target)
        ours, theirs = logits[:, cut], taught[:, cut]
        scale = 1.0 if problem.is_numeric else temperature
        soft = theirs if problem.is_numeric else problem.activate(theirs / scale, target)
        each = problem.loss(ours / scale, soft, PLAIN, None) - problem.loss(theirs / scale, soft, PLAIN, None)
        total = total + scale**2 * (each * weights).mean()
    return total


def similarity_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean squared difference of the cosines between rows, (B, any width) each (Tung & Mori, 2019).

    Cosines, not the features themselves: the two networks may have layers of any width, and no further one, which would have to
    be trained and kept, stands between them.
    """
    mine, other = (functional.normalize(each.float(), dim=1) for each in (ours, theirs))
    return (mine @ mine.T - other @ other.T).square().mean()


def load_teacher(distillation: Distillation | None, ids: Sequence[str], store: Store) -> Teacher | None:
    """What the teacher says of the rows with these ids, in their order; None without a teacher.

    EnvironmentFailed where its answers are gone from the store, or lack a row.
    """
    if distillation is None:
        return None
    path = store.path(distillation.teacher.uri) / "teacher.parquet"
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise EnvironmentFailed(
            f"teacher {path}: cannot be read ({error}); delete its folder and run compress again"
        ) from None
    places = {name: place for place, name in enumerate(table["id"].to_pylist())}
    lacking = [name for name in ids if name not in places]
    if lacking:
        raise EnvironmentFailed(
            f"teacher {path}: it answered {len(places)} rows, and not {len(lacking)} of those to train on (for example "
            f"{lacking[0]!r}); delete its folder and run compress again"
        )
    rows = np.array([places[name] for name in ids], np.int64)
    fused = _matrix(table["fused"])[rows] if "fused" in table.column_names else None
    return Teacher(
        distillation,
        torch.from_numpy(_matrix(table["outputs"])[rows]),
        None if fused is None else torch.from_numpy(fused),
    )


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """(N, width) float32 of a column of lists of one length."""
    values: NDArray[np.float32] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(column), -1)
