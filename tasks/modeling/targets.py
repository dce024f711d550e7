"""The label columns of a model: which of its outputs belong to which, what they are trained on, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from data_contracts.refs import Target
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import column_slices
from tasks.problems.registry import is_plain, problem_of, width
from tasks.samples import Samples


@dataclass(frozen=True)
class Targets:
    """Label columns in order; the network's outputs are their widths one after the other."""

    columns: tuple[Target, ...]
    temperature: float = 1.0
    """What the logits of the first column are divided by, see tasks/modeling/calibration.py."""

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the outputs of each column lie."""
        return column_slices(self.columns)

    @property
    def outputs(self) -> int:
        """All outputs."""
        return width(self.columns)

    @property
    def is_plain(self) -> bool:
        """Whether this is one multiclass column."""
        return is_plain(self.columns)

    def encode(self, samples: Samples) -> EncodedTargets:
        """The label cells of a samples table as arrays, numbers standardised."""
        parts = []
        for place, target in enumerate(self.columns):
            parts.append(torch.from_numpy(problem_of(target).encode(samples.targets(place, target.name), target)))
        return EncodedTargets(self, tuple(parts))

    def fit(self, samples: Samples) -> Targets:
        """The same with what the encoding of every column takes from these rows, as mean and deviation of numbers."""
        fitted = [
            problem_of(target).fit(target, samples.targets(place, target.name))
            for place, target in enumerate(self.columns)
        ]
        return replace(self, columns=tuple(fitted))

    def activate(self, logits: Tensor) -> Tensor:
        """(B, outputs) logits to outputs: shares that sum to 1, a share per label, numbers in the user's unit."""
        logits = self.divided(logits, self.temperature)
        if self.is_plain:
            return logits.softmax(dim=1)
        columns = zip(self.columns, self.slices, strict=True)
        return torch.cat([problem_of(target).activate(logits[:, cut], target) for target, cut in columns], dim=1)

    def logits_of(self, outputs: Tensor) -> Tensor:
        """(B, outputs) logits that `activate` turns into these: on the outputs, the loss can be computed again."""
        columns = zip(self.columns, self.slices, strict=True)
        logits = torch.cat([problem_of(target).logits_of(outputs[:, cut], target) for target, cut in columns], dim=1)
        return self._scale_first(logits, self.temperature)

    def divided(self, logits: Tensor, temperature: float) -> Tensor:
        """(B, outputs) logits, those of the first column divided by a temperature."""
        return self._scale_first(logits, 1 / temperature)

    def _scale_first(self, logits: Tensor, factor: float) -> Tensor:
        if factor == 1:
            return logits
        width = self.slices[0].stop
        return torch.cat([logits[:, :width] * factor, logits[:, width:]], dim=1)


@dataclass(frozen=True)
class EncodedTargets:
    """The targets of N rows, compact."""

    targets: Targets
    parts: tuple[Tensor, ...]
    """Per column as its problem encodes it: (N,) int64, -1 unknown, or (N, width) float32, NaN unknown."""

    def to(self, device: torch.device) -> EncodedTargets:
        """The same on a device."""
        return replace(self, parts=tuple(part.to(device) for part in self.parts))

    @property
    def first(self) -> npt.NDArray[Any]:
        """The first column's part as an array."""
        return self.parts[0].cpu().numpy()

    @cached_property
    def _rows_of_one(self) -> Tensor:
        """(outputs, outputs) the target of each class: one_hot looks through all classes that it is given, every time."""
        return torch.eye(self.targets.outputs, device=self.parts[0].device)

    def soft(self, rows: Tensor) -> Tensor:
        """(B, outputs) float targets of some rows; NaN wherever a row's column is not known.

        NaN and not a mask beside it: a blend of a known and an unknown row (mixup) is then unknown by itself.
        """
        if self.targets.is_plain:
            return self._rows_of_one.index_select(0, self.parts[0].index_select(0, rows))
        found = []
        for target, part in zip(self.targets.columns, self.parts, strict=True):
            problem = problem_of(target)
            found.append(problem.soft(part.index_select(0, rows), problem.width(target)))
        return torch.cat(found, dim=1)


def targets_of_card(card: ModelCard) -> Targets:
    """The label columns of a model, with its temperature."""
    return Targets(card.label_targets, card.temperature)
