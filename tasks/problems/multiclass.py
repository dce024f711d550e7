"""One class a row. A cell is the class's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.eval_detail import CalibrationBin, ClassFigures, Slice
from data_contracts.expectations.predictions import OutputContract
from data_contracts.expectations.samples import known_labels
from data_contracts.refs import Target
from tasks.problems.cells import Cell, find_unseen, list_names, read_name
from tasks.problems.intervals import wilson
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.multiclass_metrics import METRICS, ClassScorer, calibration, confusion, macro_f1, per_class
from tasks.problems.problem import Decision, DetailParts, LossOptions, Problem, WrongRow, group_rows
from tasks.problems.scoring import align

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from torch import Tensor


class Multiclass(Problem):
    """See Problem."""

    name = "multiclass"
    metrics = METRICS
    gate_metric = "macro_f1"
    baseline_metric = validation_metric = "accuracy"
    headline = ("accuracy", "macro_f1")
    has_classes = True
    decision: ClassVar[Literal["offsets"]] = "offsets"
    model_noun = "A classifier"
    label_noun = "class"
    mistakes_title = "Most confident mistakes"

    def read_cell(self, cell: Any, column: str) -> Cell:
        """A name; 7 is `7`."""
        return read_name(cell)

    def labels_of(self, text: str) -> tuple[str, ...]:
        """The class."""
        return (text,)

    def encode(self, cells: Sequence[str | None], target: Target) -> NDArray[Any]:
        """(N,) int64 positions in the labels, -1 where the cell is unknown, or names a label that is none of them."""
        return to_indices(cells, target.labels)

    def soft(self, encoded: Tensor, width: int) -> Tensor:
        """One-hot."""
        import torch
        from torch.nn import functional

        hot = functional.one_hot(encoded.clamp(min=0), width).float()
        return torch.where((encoded < 0)[:, None], torch.nan, hot)

    def loss(self, logits: Tensor, soft: Tensor, options: LossOptions, weights: Tensor | None) -> Tensor:
        """Cross-entropy, or with every class's term scaled by (1 - p)^gamma (focal; Lin et al., 2017)."""
        from torch.nn import functional

        if options.loss == "focal":
            smoothed = soft * (1 - options.label_smoothing) + options.label_smoothing / soft.shape[1]
            logs = logits.log_softmax(dim=1)
            doubt = (1 - logs.exp()).clamp(min=1e-6)  # at 0 the slope of a power below 1 is infinite
            each = -(smoothed * doubt**options.focal_gamma * logs).sum(dim=1)
        else:
            each = functional.cross_entropy(logits, soft, reduction="none", label_smoothing=options.label_smoothing)
        return each if weights is None else each * (soft @ weights)

    def activate(self, logits: Tensor, target: Target) -> Tensor:
        """Shares that sum to 1."""
        return logits.softmax(dim=1)

    def logits_of(self, outputs: Tensor, target: Target) -> Tensor:
        """Log-probabilities."""
        return outputs.clamp(min=1e-12).log()

    def class_weights(self, encoded: Tensor, width: int) -> Tensor:
        """Rows / (classes x rows of the class), so that every class counts alike and the mean over rows is 1 (King & Zeng,
        2001; scikit-learn's `balanced`). The effective number of Cui et al. (2019) was left out: it adds a parameter, and with
        beta = 1 - 1/N it differs from this by less than a factor of 1.6."""
        import torch

        weights = torch.ones(width)
        counts = torch.bincount(encoded[encoded >= 0], minlength=width).float().cpu()
        there = counts > 0
        weights[there] = counts.sum() / (there.sum() * counts[there])
        return weights

    def sampling_groups(self, encoded: NDArray[Any]) -> Indices | None:
        """The class; unknown rows are one of their own."""
        return encoded

    def validation_score(self, outputs: NDArray[Any], encoded: NDArray[Any], target: Target) -> float:
        """Accuracy of the most probable class."""
        return float((outputs.argmax(axis=1) == encoded).mean())

    def answer(
        self, outputs: Probabilities, target: Target, decision: Decision
    ) -> tuple[list[str], NDArray[np.float32] | None]:
        """The class with the greatest probability, or as `decide`."""
        best = decide(outputs, decision)
        chances = np.take_along_axis(outputs, best[:, None], axis=1)[:, 0]
        return [target.labels[index] for index in best], chances.astype(np.float32)

    def scorer(
        self,
        outputs: Probabilities,
        cells: Sequence[str | None],
        target: Target,
        labels: tuple[str, ...],
        decision: Decision,
    ) -> ClassScorer:
        """Decided over the model's own labels, as it decides when it serves, then moved to `labels`."""
        positions = {label: index for index, label in enumerate(labels)}
        moved = np.array([positions[label] for label in target.labels], np.int64)
        return ClassScorer(
            align(outputs, target.labels, labels), to_indices(cells, labels), moved[decide(outputs, decision)]
        )

    def find_gaps(self, name: str, rows: Mapping[tuple[str, str], int]) -> list[str]:
        """One class only, a class with a single sample, or one that train lacks."""
        sizes: Counter[str] = Counter()
        for (label, _), count in rows.items():
            sizes[label] += count
        problems = []
        if len(sizes) == 1:
            problems.append(
                f"{name}: one class only ({next(iter(sizes))!r}); a classifier needs samples of at least two"
            )
        elif not rows and name != "label":
            problems.append(f"{name}: it is empty in every row; fill it, or leave the column out")
        single = sorted(label for label, size in sizes.items() if size == 1)
        if single:
            problems.append(f"{name}: a single sample of {list_names(single)}; add samples, or remove the class")
        return problems + find_unseen(name, rows)

    def label_expectations(self, labels: tuple[str, ...]) -> list[Expectation]:
        """A label is one of those listed, and no class is rare."""
        return known_labels(labels)

    def output_contract(self, target: Target) -> OutputContract:
        """Shares that sum to 1; an answer is one of the labels."""
        return OutputContract(self.width(target), target.labels, answers="label", are_shares=True, sum_to_1=True)

    def details(self, scored: ClassScorer, labels: tuple[str, ...]) -> DetailParts:
        """Per class, confusion matrix and calibration."""
        return {
            "per_class": tuple(ClassFigures.model_validate(row) for row in per_class(scored, labels)),
            "confusion": tuple(confusion(scored)),
            "calibration": tuple(CalibrationBin.model_validate(row) for row in calibration(scored)),
        }

    def slices(self, scored: ClassScorer, labels: tuple[str, ...], present: NDArray[Any]) -> list[Slice]:
        """Accuracy with its Wilson interval: per set of modalities present, most frequent first, and per class."""
        by_set = [_slice("modalities", value, scored.take(rows)) for value, rows in group_rows(present)]
        classes = [int(c) for c in np.unique(scored.truth)]
        return by_set + [_slice("class", labels[c], scored.take(np.flatnonzero(scored.truth == c))) for c in classes]

    def mistakes(self, scored: ClassScorer, labels: tuple[str, ...], most: int) -> tuple[list[WrongRow], int]:
        """The mistakes that the model was surest of; of equals, the first row."""
        wrong = np.flatnonzero(~scored.correct)
        worst = wrong[np.argsort(-scored.confidence[wrong], kind="stable")][:most]
        return [
            WrongRow(
                int(row),
                labels[scored.truth[row]],
                labels[scored.predicted[row]],
                float(scored.confidence[row]),
                float(np.nan_to_num(scored.probabilities[row, scored.truth[row]])),
            )
            for row in worst
        ], len(wrong)

    def describe_model(self, inputs: str, labels: int) -> str:
        """For the model card."""
        return f"A classifier of {inputs} into {labels} classes"

    def count_labels(self, target: Target) -> str:
        """`10 classes`."""
        return f"{len(target.labels)} classes"


def decide(probabilities: Probabilities, offsets: Decision = None) -> Indices:
    """(N, C) probabilities to (N,) answers: the greatest log-probability plus offset, the first of equals.

    What is not a number counts as 0. A class of probability 0 is no answer, whatever its offset.
    """
    scores = np.nan_to_num(probabilities)
    if offsets is None:
        return np.asarray(scores.argmax(axis=1), np.int64)
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(scores.astype(np.float64)) + np.asarray(offsets)).argmax(axis=1), np.int64)


def to_indices(cells: Sequence[str | None], labels: Sequence[str]) -> Indices:
    """(N,) positions in the labels, -1 where the cell is unknown, or names a label that is none of them."""
    positions = {label: index for index, label in enumerate(labels)}
    return np.array([-1 if cell is None else positions.get(cell, -1) for cell in cells], np.int64)


def _slice(by: Literal["modalities", "class"], value: str, scored: ClassScorer) -> Slice:
    correct = int(scored.correct.sum())
    f1 = float(macro_f1(scored.count(np.arange(scored.rows)[None]))[0])
    return Slice(
        by=by,
        value=value,
        n=scored.rows,
        metrics={"accuracy": correct / scored.rows, "macro_f1": f1},
        accuracy_interval=wilson(correct, scored.rows),
    )
