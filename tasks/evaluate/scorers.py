"""What a model answered in one label column beside the truth, ready to be scored by its problem's metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from data_contracts.refs import Metrics, ProblemName
from tasks.modeling.card import ModelCard
from tasks.modeling.decision import column_slices
from tasks.modeling.row_clusters import clusters_of
from tasks.problems.metric import Indices, Probabilities
from tasks.problems.registry import problem_of
from tasks.problems.scoring import AnyScorer, Clusters
from tasks.samples import Samples


def make_scorer(
    card: ModelCard, place: int, outputs: Probabilities, cells: Sequence[str | None], labels: tuple[str, ...]
) -> tuple[AnyScorer, Indices]:
    """A model's answers in the label column at this place, and the positions of the rows whose truth is known.

    `outputs` (N, outputs) is all that the model gave out, `cells` the N true texts, `labels` all labels to score over: the
    model's own first.
    """
    targets = card.label_targets
    target, part = targets[place], np.asarray(outputs[:, column_slices(targets)[place]])
    known = np.flatnonzero([cell is not None for cell in cells])
    scorer = problem_of(target).scorer(part, cells, target, labels, card.tuned if place == 0 else None)
    return scorer.take(known), known


class ColumnFigures(TypedDict):
    """Fields of EvalReport, with the figures of some label columns."""

    metrics: dict[str, Metrics]
    intervals: dict[str, tuple[float, float]]
    baselines: dict[str, float]
    known_rows: dict[str, int]
    problems: dict[str, ProblemName]


@dataclass(frozen=True)
class Columns:
    """The truth of some rows in every label column of a model, and the labels to score over."""

    samples: Samples
    card: ModelCard
    labels: tuple[tuple[str, ...], ...]
    """Per label column: the candidate's own first."""

    def scorer(self, outputs: Probabilities) -> AnyScorer:
        """The first column, of which every row's truth is known."""
        return make_scorer(self.card, 0, outputs, self.samples.targets(0, ""), self.labels[0])[0]

    def score_others(self, outputs: Probabilities, seed: int, clusters: Clusters = None) -> ColumnFigures:
        """The figures of every further column on the rows whose truth is known."""
        found: ColumnFigures = {"metrics": {}, "intervals": {}, "baselines": {}, "known_rows": {}, "problems": {}}
        for place, target in enumerate(self.card.label_targets):
            if place == 0:
                continue
            cells = self.samples.targets(place, target.name)
            scorer, known = make_scorer(self.card, place, outputs, cells, self.labels[place])
            found["metrics"][target.name] = scorer.score()
            found["known_rows"][target.name] = scorer.rows
            found["problems"][target.name] = target.problem
            of_known = None if clusters is None else clusters_of(known, clusters)
            ranges = scorer.intervals(seed, clusters=of_known) if scorer.rows else {}
            found["intervals"] |= {f"{target.name}.{name}": value for name, value in ranges.items()}
            found["baselines"] |= {f"{target.name}.{name}": value for name, value in scorer.baselines().items()}
        return found
