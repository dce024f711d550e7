"""What a problem is: one object that knows its cells, targets, loss, answers, metrics, contract and words.

A stage asks the object (tasks.problems.registry.get_problem) and never its name, so another problem is another module like
tasks/problems/regression.py and one line in the registry. torch is imported inside the methods that compute with it: the
config and the command line read this package, and load none of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from data_contracts.eval_detail import CalibrationBin, ClassFigures, PrecisionRecallCurve, Residuals, Slice
from data_contracts.expectations.predictions import OutputContract
from data_contracts.refs import Target
from tasks.problems.cells import Cell
from tasks.problems.metric import Indices, Metric, Probabilities
from tasks.problems.scoring import AnyScorer

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from torch import Tensor

Decision = Sequence[float] | None
"""The tuned offsets or thresholds of a model's first label column."""


class LossOptions(Protocol):
    """The part of TrainConfig that losses read."""

    @property
    def loss(self) -> str:
        """cross-entropy or focal."""

    @property
    def focal_gamma(self) -> float:
        """Of the focal loss."""

    @property
    def label_smoothing(self) -> float:
        """Share of the target that is spread over all classes."""

    @property
    def regression_loss(self) -> str:
        """smooth-l1 or squared."""


@dataclass(frozen=True)
class WrongRow:
    """One row of the report's list of mistakes."""

    row: int
    """Position among the scored rows."""
    true: str
    predicted: str
    probability: float | None = None
    true_probability: float | None = None


class DetailParts(TypedDict, total=False):
    """The fields of EvalDetail that depend on the problem."""

    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, int, int], ...]
    calibration: tuple[CalibrationBin, ...]
    pr_curves: tuple[PrecisionRecallCurve, ...]
    points: tuple[tuple[float, float], ...]
    residuals: Residuals


class Problem(ABC):
    """One kind of label column. Arrays have one row a sample: `outputs` (N, width) is what the network gives out for the
    column, `encoded` what it is trained on."""

    name: ClassVar[str]
    """As in data.problem."""
    metrics: ClassVar[tuple[Metric[Any, Any], ...]]
    gate_metric: ClassVar[str]
    """On which candidate and champion are compared, unless the config names one."""
    baseline_metric: ClassVar[str]
    """On which one and the same answer to every row is beaten, unless the config names one."""
    validation_metric: ClassVar[str]
    """Of every epoch, on the validation rows."""
    headline: ClassVar[tuple[str, str]]
    """The metrics where there is room for two."""
    is_numeric: ClassVar[bool] = False
    """Whether a cell is a number: there are no classes to balance, and a distribution is a histogram."""
    has_classes: ClassVar[bool] = False
    """Whether a row is of exactly one class, so that one may be rare or unseen, and logistic regression can be fitted."""
    reads_lists: ClassVar[bool] = False
    """Whether a cell may be a list."""
    decision: ClassVar[Literal["offsets", "thresholds"] | None] = None
    """What train.tune_thresholds chooses; None: there is nothing to choose."""
    loss_factor: ClassVar[float] = 1.0
    """Of the loss where several label columns are weighed by their uncertainty (Kendall, Gal & Cipolla, 2018)."""
    model_noun: ClassVar[str]
    """`A classifier`."""
    label_noun: ClassVar[str] = "label"
    mistakes_title: ClassVar[str]
    mistakes_of: ClassVar[str] = "mistakes on the test rows"

    # -- cells and targets ---

    @abstractmethod
    def read_cell(self, cell: Any, column: str) -> Cell:
        """The text of a label cell that is not empty, or why it cannot be used."""

    @abstractmethod
    def labels_of(self, text: str) -> tuple[str, ...]:
        """The labels that a cell's text names; none for a number."""

    def text_of(self, labels: Sequence[str]) -> str:
        """The cell's text that names these labels: of the only one that a row may have."""
        (label,) = labels
        return label

    def outputs_of(self, target: Target) -> tuple[str, ...]:
        """What each output of the network stands for; "" where it is the column itself."""
        return target.labels

    def width(self, target: Target) -> int:
        """Outputs of the network."""
        return len(self.outputs_of(target))

    def fit(self, target: Target, cells: Sequence[str | None]) -> Target:
        """The target with what its encoding takes from the training rows."""
        return target

    @abstractmethod
    def encode(self, cells: Sequence[str | None], target: Target) -> NDArray[Any]:
        """(N,) or (N, width), compact; a row whose cell is unknown is -1 in integers, NaN in floats."""

    # -- training ---

    def soft(self, encoded: Tensor, width: int) -> Tensor:
        """(B, width) float targets, NaN where a row is unknown."""
        return encoded

    @abstractmethod
    def loss(self, logits: Tensor, soft: Tensor, options: LossOptions, weights: Tensor | None) -> Tensor:
        """(B,) the loss of each row; `weights` (width,) of the classes, see `class_weights`."""

    @abstractmethod
    def activate(self, logits: Tensor, target: Target) -> Tensor:
        """(B, width) what the model gives out: shares, or numbers in the user's unit."""

    @abstractmethod
    def logits_of(self, outputs: Tensor, target: Target) -> Tensor:
        """(B, width) logits that `activate` turns into these."""

    def class_weights(self, encoded: Tensor, width: int) -> Tensor:
        """(width,) for train.class_balance = class-weights; 1 for what never occurs."""
        import torch

        return torch.ones(width)

    def sampling_groups(self, encoded: NDArray[Any]) -> Indices | None:
        """(N,) the group of each row for train.class_balance = sampler, which draws groups equally often; None: none."""
        return None

    @abstractmethod
    def validation_score(self, outputs: NDArray[Any], encoded: NDArray[Any], target: Target) -> float:
        """`validation_metric` on validation rows."""

    # -- answers ---

    @abstractmethod
    def answer(
        self, outputs: Probabilities, target: Target, decision: Decision
    ) -> tuple[list[str], NDArray[np.float32] | None]:
        """(N,) answers as text, and the probability of each; None where there is none."""

    @abstractmethod
    def scorer(
        self,
        outputs: Probabilities,
        cells: Sequence[str | None],
        target: Target,
        labels: tuple[str, ...],
        decision: Decision,
    ) -> AnyScorer:
        """The answers beside the true cells, over `labels`, which hold the target's own. Rows with an unknown cell are
        left out by the caller."""

    def score_texts(self, truth: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
        """One metric of answers of which nothing but their text is known."""
        right = sum(true == answer for true, answer in zip(truth, answers, strict=True))
        return {self.headline[0]: right / len(truth)}

    # -- contracts ---

    @abstractmethod
    def find_gaps(self, name: str, rows: Mapping[tuple[str, str], int]) -> list[str]:
        """One line for each reason why these (cell, split), with their numbers of rows, cannot be trained on; `name` is what
        messages call the column.
        """

    @abstractmethod
    def label_expectations(self, labels: tuple[str, ...]) -> list[Expectation]:
        """What the column `label` of the samples must meet besides being filled."""

    @abstractmethod
    def output_contract(self, target: Target) -> OutputContract:
        """What the column's part of the predictions table must meet."""

    # -- reporting ---

    @abstractmethod
    def details(self, scored: Any, labels: tuple[str, ...]) -> DetailParts:
        """What the report draws besides the metrics; what is left out is not drawn."""

    def slices(self, scored: Any, labels: tuple[str, ...], present: NDArray[Any]) -> list[Slice]:
        """Every metric for each set of modalities that is present in a row, `present` (N,)."""
        return [
            Slice(by="modalities", value=value, n=len(rows), metrics=scored.take(rows).score())
            for value, rows in group_rows(present)
        ]

    @abstractmethod
    def mistakes(self, scored: Any, labels: tuple[str, ...], most: int) -> tuple[list[WrongRow], int]:
        """The worst rows, at most so many, and how many there are in all."""

    @abstractmethod
    def describe_model(self, inputs: str, labels: int) -> str:
        """`A classifier of image, text into 10 classes`."""

    @abstractmethod
    def count_labels(self, target: Target) -> str:
        """`10 classes`."""


def group_rows(present: NDArray[Any]) -> list[tuple[str, Indices]]:
    """(set of modalities, positions of its rows), the most frequent first."""
    values, counts = np.unique(present, return_counts=True)
    return [(str(values[n]), np.flatnonzero(present == values[n])) for n in np.argsort(-counts, kind="stable")]
