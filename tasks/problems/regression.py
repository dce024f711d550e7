"""A number a row. A cell is its shortest text.

The problem whole, metrics included, in one file: what another problem needs is what stands here, and its line in
tasks/problems/registry.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.eval_detail import Residuals
from data_contracts.expectations.predictions import OutputContract
from data_contracts.expectations.samples import number_labels
from data_contracts.refs import Target
from tasks.number_format import number_text, short_number
from tasks.problems.cells import Cell
from tasks.problems.intervals import mean_estimate, tail_freedom
from tasks.problems.metric import Baseline, Estimate, Floats, Indices, Metric, Probabilities
from tasks.problems.problem import Decision, DetailParts, LossOptions, Problem, WrongRow
from tasks.problems.scoring import Scorer, row_weights

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from torch import Tensor

POINTS = 1_000
"""Of more test rows so many are drawn, evenly spaced among them."""
BINS = 24
MEAN = Baseline(
    rule="below that of the mean",
    answer="always the mean of the train rows",
    value="what the same answer to every row scores",
    limit="what the same answer to every row scores",
    sentence="Always answering the mean of the train rows would have a mean absolute error of {}.",
)


@dataclass(frozen=True)
class ErrorSums:
    """Sums over the rows of each of R weightings; all (R,)."""

    rows: Floats
    absolute: Floats
    squared: Floats
    variance: Floats
    """Of the true numbers."""


@dataclass(frozen=True)
class NumberScorer(Scorer[ErrorSums]):
    """Numbers in the user's unit."""

    predicted: Floats
    truth: Floats
    constant: float = 0.0
    """The mean of the train rows: the best answer that is always the same."""

    @property
    def metrics(self) -> tuple[Metric[Any, ErrorSums], ...]:
        """See METRICS."""
        return METRICS

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    def take(self, rows: Indices) -> NumberScorer:
        """Some of the rows."""
        return NumberScorer(self.predicted[rows], self.truth[rows], self.constant)

    def count(self, chosen: Indices) -> ErrorSums:
        """Matrix products of the rows' weights."""
        weights = row_weights(chosen)
        total = weights.sum(axis=1)
        errors = self.predicted - self.truth
        centred = self.truth - self.truth.mean()
        mean = weights @ centred / total
        variance = weights @ centred**2 / total - mean**2
        return ErrorSums(total, weights @ np.abs(errors), weights @ errors**2, variance)

    def errors(self) -> Floats:
        """How far off the number is."""
        return np.abs(self.predicted - self.truth)

    def baselines(self) -> dict[str, float]:
        """Always the constant."""
        same = NumberScorer(np.full(self.rows, self.constant), self.truth)
        return {name: value for name, value in same.score().items() if value is not None}


def explained(sums: ErrorSums) -> Floats:
    """(R,) share of the variance explained; not defined where all true numbers are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums.variance > 0, 1 - sums.squared / sums.rows / sums.variance, np.nan)


def absolute_error(scored: NumberScorer) -> Estimate:
    """The mean absolute error's."""
    return _of_errors(np.abs(scored.predicted - scored.truth))


def root_squared_error(scored: NumberScorer) -> Estimate:
    """The root mean squared error's: of a root, half the slope of the mean beneath."""
    squares = _of_errors(np.square(scored.predicted - scored.truth))
    root = math.sqrt(squares.value)
    slope = 1 / (2 * root) if root > 0 else 0.0
    return replace(squares, value=root, influence=squares.influence * slope, variance=squares.variance * slope**2)


def explained_variance(scored: NumberScorer) -> Estimate | None:
    """R²'s: 1 minus a ratio of two means."""
    errors, centred = np.square(scored.predicted - scored.truth), np.square(scored.truth - scored.truth.mean())
    variance = float(centred.mean())
    if variance == 0:
        return None
    missing = float(errors.mean()) / variance
    return replace(_of_errors((missing * centred - errors) / variance), value=1 - missing)


METRICS: tuple[Metric[NumberScorer, ErrorSums], ...] = (
    Metric(
        "mae", "Mean absolute error", lambda sums: sums.absolute / sums.rows, absolute_error, "hall",
        high=inf, unit="number", lower_is_better=True, baseline=MEAN,
    ),
    Metric(
        "rmse", "Root mean squared error", lambda sums: np.sqrt(sums.squared / sums.rows), root_squared_error,
        "hall-root", high=inf, unit="number", lower_is_better=True, baseline=MEAN,
    ),
    Metric("r2", "Variance explained (R²)", explained, explained_variance, "log-rest", low=-inf, unit="score"),
)  # fmt: skip


class Regression(Problem):
    """See Problem. The network learns numbers standardised on the train rows."""

    name = "regression"
    metrics = METRICS
    gate_metric = baseline_metric = validation_metric = "mae"
    headline = ("mae", "r2")
    is_numeric = True
    loss_factor = 0.5
    model_noun = "A model of a number"
    mistakes_title = "Largest errors"
    mistakes_of = "test rows"

    def read_cell(self, cell: Any, column: str) -> Cell:
        """A finite number."""
        wrong = None, ("bad-label", f"column {column!r}: {str(cell)[:50]!r} is not a finite number")
        if isinstance(cell, bool) or (isinstance(cell, str) and "_" in cell):  # Python reads 1_000 as a number
            return wrong
        try:
            number = float(cell)
        except (TypeError, ValueError, OverflowError):
            return wrong
        return (number_text(number), None) if math.isfinite(number) else wrong

    def labels_of(self, text: str) -> tuple[str, ...]:
        """None."""
        return ()

    def outputs_of(self, target: Target) -> tuple[str, ...]:
        """The number."""
        return ("",)

    def fit(self, target: Target, cells: Sequence[str | None]) -> Target:
        """With mean and deviation of the numbers; a constant column has deviation 1."""
        numbers = to_numbers(cells)
        known = numbers[np.isfinite(numbers)]
        mean, std = (float(known.mean()), float(known.std())) if len(known) else (0.0, 1.0)
        return target.model_copy(update={"mean": mean, "std": std if std > 0 else 1.0})

    def encode(self, cells: Sequence[str | None], target: Target) -> NDArray[Any]:
        """(N, 1) float32, standardised."""
        numbers = (to_numbers(cells) - target.mean) / target.std
        return numbers.astype(np.float32)[:, None]

    def loss(self, logits: Tensor, soft: Tensor, options: LossOptions, weights: Tensor | None) -> Tensor:
        """See train.regression_loss."""
        from torch.nn import functional

        squared = options.regression_loss == "squared"
        each = functional.mse_loss if squared else functional.smooth_l1_loss
        return each(logits, soft, reduction="none").squeeze(1)

    def activate(self, logits: Tensor, target: Target) -> Tensor:
        """Numbers in the user's unit."""
        return logits * target.std + target.mean

    def logits_of(self, outputs: Tensor, target: Target) -> Tensor:
        """Standardised numbers."""
        return (outputs - target.mean) / target.std

    def validation_score(self, outputs: NDArray[Any], encoded: NDArray[Any], target: Target) -> float:
        """Mean absolute error in the user's unit."""
        return float(np.abs(outputs[:, 0] - (encoded[:, 0] * target.std + target.mean)).mean())

    def answer(
        self, outputs: Probabilities, target: Target, decision: Decision
    ) -> tuple[list[str], NDArray[np.float32] | None]:
        """As short as a float32 can be written: 0.3, not the 0.30000001192092896 that it is as a float64."""
        return [number_text(float(str(np.float32(value)))) for value in outputs[:, 0]], None

    def scorer(
        self,
        outputs: Probabilities,
        cells: Sequence[str | None],
        target: Target,
        labels: tuple[str, ...],
        decision: Decision,
    ) -> NumberScorer:
        """Beside the mean of the train rows."""
        return NumberScorer(outputs[:, 0].astype(np.float64), to_numbers(cells), target.mean)

    def score_texts(self, truth: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
        """The mean absolute error."""
        errors = [abs(float(true) - float(answer)) for true, answer in zip(truth, answers, strict=True)]
        return {"mae": sum(errors) / len(errors)}

    def find_gaps(self, name: str, rows: Mapping[tuple[str, str], int]) -> list[str]:
        """No number, or the same one in all rows of train."""
        train = {text for text, split in rows if split == "train"}
        if len(train) > 1 or not rows:
            return [] if rows else [f"{name}: no row has a number; fill the column, or leave it out"]
        return [f"{name}: train needs different numbers, and has {', '.join(train) or 'none'}"]

    def label_expectations(self, labels: tuple[str, ...]) -> list[Expectation]:
        """A label is a number."""
        return number_labels()

    def output_contract(self, target: Target) -> OutputContract:
        """Any finite number."""
        return OutputContract(1, (), answers="value", are_shares=False, sum_to_1=False)

    def details(self, scored: NumberScorer, labels: tuple[str, ...]) -> DetailParts:
        """Points (true, predicted), and a histogram of the errors."""
        chosen = np.unique(np.linspace(0, scored.rows - 1, min(scored.rows, POINTS)).astype(int))
        counts, edges = np.histogram(scored.predicted - scored.truth, BINS)
        return {
            "points": tuple((float(scored.truth[n]), float(scored.predicted[n])) for n in chosen),
            "residuals": Residuals(counts=tuple(counts.tolist()), edges=tuple(edges.tolist())),
        }

    def mistakes(self, scored: NumberScorer, labels: tuple[str, ...], most: int) -> tuple[list[WrongRow], int]:
        """The rows with the largest errors."""
        worst = np.argsort(-np.abs(scored.predicted - scored.truth), kind="stable")[:most]
        return [
            WrongRow(int(n), _six_digits(scored.truth[n]), _six_digits(scored.predicted[n])) for n in worst
        ], scored.rows

    def describe_model(self, inputs: str, labels: int) -> str:
        """For the model card."""
        return f"A model that predicts a number from {inputs}"

    def count_labels(self, target: Target) -> str:
        """As it is."""
        return "a number"


def to_numbers(cells: Sequence[str | None]) -> Floats:
    """(N,) NaN where the cell is unknown."""
    return np.array([np.nan if cell is None else float(cell) for cell in cells], np.float64)


def _of_errors(values: Floats) -> Estimate:
    """Few large errors say how large errors are: the degrees of freedom are those of the rows that carry the mean."""
    found = mean_estimate(values)
    return replace(found, freedom=tail_freedom(found.influence))


def _six_digits(value: float) -> str:
    return short_number(float(value), digits=6)
