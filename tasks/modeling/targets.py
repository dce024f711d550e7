"""The label columns of a model: which of its outputs belong to which, what they are trained on, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from data_contracts.refs import Target
from tasks.labels import to_indices, to_members, to_numbers
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import column_slices
from tasks.samples import Samples


@dataclass(frozen=True)
class Targets:
    """Label columns in order; the network's outputs are their widths one after the other."""

    columns: tuple[Target, ...]

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the outputs of each column lie."""
        return column_slices(self.columns)

    @property
    def outputs(self) -> int:
        """All outputs."""
        return sum(target.width for target in self.columns)

    @property
    def is_plain(self) -> bool:
        """Whether this is one multiclass column."""
        return len(self.columns) == 1 and self.columns[0].problem == "multiclass"

    def encode(self, samples: Samples) -> EncodedTargets:
        """The label cells of a samples table as arrays, numbers standardised."""
        parts = []
        for place, target in enumerate(self.columns):
            cells = samples.targets(place, target.name)
            if target.problem == "multiclass":
                parts.append(torch.from_numpy(to_indices(cells, target.labels)))
            elif target.problem == "multilabel":
                parts.append(torch.from_numpy(to_members(cells, target.labels)))
            else:
                numbers = (to_numbers(cells) - target.mean) / target.std
                parts.append(torch.from_numpy(numbers.astype(np.float32)[:, None]))
        return EncodedTargets(self, tuple(parts))

    def fit(self, samples: Samples) -> Targets:
        """The same with mean and deviation of every column of numbers on these rows; a constant one has deviation 1."""
        fitted = []
        for place, target in enumerate(self.columns):
            if target.problem == "regression":
                numbers = to_numbers(samples.targets(place, target.name))
                known = numbers[np.isfinite(numbers)]
                mean, std = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
                target = target.model_copy(update={"mean": mean, "std": std if std > 0 else 1.0})  # noqa: PLW2901
            fitted.append(target)
        return replace(self, columns=tuple(fitted))

    def activate(self, logits: Tensor) -> Tensor:
        """(B, outputs) logits to what is told: shares that sum to 1, a share per label, numbers in the user's unit."""
        if self.is_plain:
            return logits.softmax(dim=1)
        found = []
        for target, cut in zip(self.columns, self.slices, strict=True):
            part = logits[:, cut]
            if target.problem == "multiclass":
                found.append(part.softmax(dim=1))
            elif target.problem == "multilabel":
                found.append(part.sigmoid())
            else:
                found.append(part * target.std + target.mean)
        return torch.cat(found, dim=1)

    def logits_of(self, outputs: Tensor) -> Tensor:
        """(B, outputs) logits that `activate` turns into these: on what was told, the loss can be had again."""
        found = []
        for target, cut in zip(self.columns, self.slices, strict=True):
            part = outputs[:, cut]
            if target.problem == "multiclass":
                found.append(part.clamp(min=1e-12).log())
            elif target.problem == "multilabel":
                found.append(part.clamp(1e-7, 1 - 1e-7).logit())
            else:
                found.append((part - target.mean) / target.std)
        return torch.cat(found, dim=1)


@dataclass(frozen=True)
class EncodedTargets:
    """The targets of N rows, compact."""

    targets: Targets
    parts: tuple[Tensor, ...]
    """Per column: multiclass (N,) int64, -1 unknown; multilabel (N, L) and numbers (N, 1) float32, NaN unknown."""

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
            taken = part.index_select(0, rows)
            if target.problem == "multiclass":
                hot = functional.one_hot(taken.clamp(min=0), target.width).float()
                taken = torch.where((taken < 0)[:, None], torch.nan, hot)
            found.append(taken)
        return torch.cat(found, dim=1)


def targets_of_card(card: ModelCard) -> Targets:
    """The label columns of a model."""
    return Targets(card.label_targets)
