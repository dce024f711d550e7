"""What a model answered in one label column beside the truth, with the figures of its problem behind one set of methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from data_contracts.refs import Metrics
from tasks.evaluate import multilabel_regression
from tasks.evaluate.intervals import intervals, paired_differences
from tasks.evaluate.metrics import Indices, score
from tasks.evaluate.multilabel_regression import JudgedNumbers, JudgedSets
from tasks.evaluate.predictions import Answers, Probabilities, align, answers_of
from tasks.labels import to_indices, to_members, to_numbers
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import column_slices, decide_labels

Interval = tuple[float, float]
Difference = tuple[float, float, float]


class Scorer(Protocol):
    """Answers to N rows whose truth is known."""

    @property
    def rows(self) -> int:
        """N."""

    def take(self, rows: Indices) -> Self:
        """Some of the rows."""

    def score(self) -> Metrics:
        """Every metric of the problem; None where it is not defined."""

    def intervals(self, seed: int) -> dict[str, Interval]:
        """Metric to its 95 % interval."""

    def differences(self, other: Self, seed: int, confidence: float) -> dict[str, Difference]:
        """Metric to this minus the other on the same rows: value, low, high."""

    def baselines(self) -> dict[str, float]:
        """Metric to what one and the same answer to every row scores."""


@dataclass(frozen=True)
class Classes:
    """One class a row."""

    answers: Answers
    truth: Indices

    @property
    def rows(self) -> int:
        """N."""
        return len(self.truth)

    def take(self, rows: Indices) -> Classes:
        """Some of the rows."""
        return Classes(self.answers.take(rows), self.truth[rows])

    def score(self) -> Metrics:
        """See tasks.evaluate.metrics."""
        return score(self.answers.probabilities, self.truth, self.answers.predicted)

    def intervals(self, seed: int) -> dict[str, Interval]:
        """See tasks.evaluate.intervals."""
        return intervals(self.answers.probabilities, self.truth, seed, predicted=self.answers.predicted)

    def differences(self, other: Classes, seed: int, confidence: float) -> dict[str, Difference]:
        """Of two models over the same labels."""
        both = (self.answers.predicted, other.answers.predicted)
        ours, theirs = self.answers.probabilities, other.answers.probabilities
        return paired_differences(ours, theirs, self.truth, seed, confidence, both)

    def baselines(self) -> dict[str, float]:
        """The most frequent class."""
        return {"accuracy": float(np.bincount(self.truth).max() / len(self.truth))} if self.rows else {}


@dataclass(frozen=True)
class Weighed:
    """Sets of labels, or numbers."""

    judged: JudgedNumbers | JudgedSets
    constant: float = 0.0
    """Of numbers: the mean of the train rows."""

    @property
    def rows(self) -> int:
        """N."""
        return self.judged.rows

    def take(self, rows: Indices) -> Weighed:
        """Some of the rows."""
        return Weighed(self.judged.take(rows), self.constant)

    def score(self) -> Metrics:
        """See tasks.evaluate.multilabel_regression."""
        return multilabel_regression.score(self.judged)

    def intervals(self, seed: int) -> dict[str, Interval]:
        """See tasks.evaluate.multilabel_regression."""
        return multilabel_regression.intervals(self.judged, seed)

    def differences(self, other: Weighed, seed: int, confidence: float) -> dict[str, Difference]:
        """Of two models over the same labels."""
        return multilabel_regression.differences(self.judged, other.judged, seed, confidence)

    def baselines(self) -> dict[str, float]:
        """Numbers: always the mean of the train rows. Sets: with all scores equal, precision is the label's share."""
        if not self.rows:
            return {}
        if isinstance(self.judged, JudgedNumbers):
            same = JudgedNumbers(np.full(self.rows, self.constant), self.judged.truth)
            return {name: value for name, value in multilabel_regression.score(same).items() if value is not None}
        shares = self.judged.truth.mean(axis=0)
        return {"mean_ap": float(shares[shares > 0].mean())} if (shares > 0).any() else {}


def judge_column(
    card: ModelCard, place: int, outputs: Probabilities, cells: Sequence[str | None], labels: tuple[str, ...]
) -> tuple[Scorer, Indices]:
    """A model's answers in the label column at this place, and the positions of the rows whose truth is known.

    `outputs` (N, outputs) is all that the model gave out, `cells` the N true texts, `labels` all labels to judge over: the
    model's own first.
    """
    targets = card.label_targets
    target, part = targets[place], np.asarray(outputs[:, column_slices(targets)[place]])
    known = np.flatnonzero([cell is not None for cell in cells])
    if target.problem == "multiclass":
        offsets = card.offsets if place == 0 else None
        answers, truth = answers_of(part, target.labels, offsets, labels), to_indices(cells, labels)
        return Classes(answers, truth).take(known), known
    if target.problem == "regression":
        numbers = JudgedNumbers(part[:, 0].astype(np.float64), to_numbers(cells))
        return Weighed(numbers, target.mean).take(known), known
    given = decide_labels(part, card.thresholds if place == 0 else None)
    wide = align(given.astype(np.float64), target.labels, labels) > 0
    there = np.nan_to_num(to_members(cells, labels)) > 0
    chances = align(part, target.labels, labels).astype(np.float64)
    sets = JudgedSets(chances, wide, there)
    return Weighed(sets).take(known), known
