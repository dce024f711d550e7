"""What of a model's outputs is explained, for which a row is asked, and how right an answer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tasks.explain.checks import require_label
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import answer_column
from tasks.modeling.targets import Targets
from tasks.problems.registry import problem_of
from tasks.samples import Samples

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """The first label column of a model, and the label that is asked for, if any."""

    card: ModelCard
    targets: Targets
    label: str | None = None

    def __post_init__(self) -> None:
        require_label(self.card, self.label)

    @property
    def is_numeric(self) -> bool:
        """Whether a number is explained."""
        return problem_of(self.targets.columns[0]).is_numeric

    def names(self) -> tuple[str, ...]:
        """What each output of the first column is called; of numbers, the column's name."""
        target = self.targets.columns[0]
        return tuple(name or target.name for name in problem_of(target).outputs_of(target))

    def says(self) -> str:
        """What is explained, in a sentence."""
        if self.is_numeric:
            return f"the predicted {self.targets.columns[0].name}"
        if self.label is not None:
            return f"the probability of {self.label!r}"
        one = problem_of(self.targets.columns[0]).has_classes
        return "the probability of the answer" if one else "the probability of the most probable label"

    def places(self, outputs: Floats) -> NDArray[np.int64]:
        """(N,) which output is explained of each row."""
        if self.label is not None:
            return np.full(len(outputs), self.names().index(self.label))
        own = outputs[:, self.targets.slices[0]]
        if problem_of(self.targets.columns[0]).has_classes:  # with the offsets by which it decides
            index = {label: place for place, label in enumerate(self.names())}
            return np.array([index[label] for label in self.answers(outputs)], np.int64)
        return np.asarray(own.argmax(axis=1), np.int64)

    def answers(self, outputs: Floats) -> list[str]:
        """(N,) in the first label column."""
        return answer_column(self.card, 0, outputs)[0]

    def score(self, logits: Tensor, place: int) -> Tensor:
        """(B,) what the parts of an input add up to: log-odds of a class or label, calibrated as its probability is, or the
        number in its unit."""
        cut = self.targets.slices[0]
        problem = problem_of(self.targets.columns[0])
        if problem.is_numeric:
            return self.targets.activate(logits)[:, place]
        own = logits[:, cut] / self.targets.temperature
        if not problem.has_classes:
            return own[:, place]
        others = torch.cat([own[:, :place], own[:, place + 1 :]], dim=1)
        return own[:, place] - others.logsumexp(dim=1)

    def truth(self, samples: Samples) -> NDArray[np.float64]:
        """(N,) position of the class, or (N, width) the states of labels or the number; NaN where it is not known."""
        target = self.targets.columns[0]
        problem = problem_of(target)
        encoded = torch.from_numpy(problem.encode(samples.targets(0, ""), target))
        if problem.has_classes:
            return np.where(encoded.numpy() < 0, np.nan, encoded.numpy())
        known = problem.activate(encoded.float(), target) if problem.is_numeric else encoded
        return np.asarray(known.double().numpy())

    def rightness(self, outputs: Floats, truth: NDArray[np.float64]) -> Floats:
        """(N,) the probability of the true class, the mean probability of each label's true state, or minus the absolute
        error; NaN where the truth is not known."""
        own = outputs[:, self.targets.slices[0]]
        problem = problem_of(self.targets.columns[0])
        if problem.is_numeric:
            return np.asarray(-np.abs(own - truth.reshape(own.shape)).mean(axis=1))
        if problem.has_classes:
            known = ~np.isnan(truth)
            found = np.full(len(own), np.nan)
            found[known] = own[known, truth[known].astype(np.int64)]
            return found
        return np.asarray(np.where(truth > 0.5, own, 1 - own).mean(axis=1) + 0 * truth.mean(axis=1))  # NaN stays

    def loss(self, outputs: Floats, truth: NDArray[np.float64]) -> Floats:
        """(N,) cross-entropy, of several labels its mean, or the absolute error; NaN where the truth is not known."""
        right = self.rightness(outputs, truth)
        if self.is_numeric:
            return np.asarray(-right)
        if problem_of(self.targets.columns[0]).has_classes:
            return np.asarray(-np.log(np.maximum(right, 1e-12)))
        own = outputs[:, self.targets.slices[0]]
        states = np.where(truth > 0.5, own, 1 - own)
        return np.asarray(-np.log(np.maximum(states, 1e-12)).mean(axis=1) + 0 * truth.mean(axis=1))
