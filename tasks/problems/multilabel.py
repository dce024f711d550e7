"""Any number of labels a row. A cell is their sorted names joined by `|`, or `[]` where it is known that there are none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.eval_detail import ClassFigures, PrecisionRecallCurve
from data_contracts.expectations.predictions import OutputContract
from data_contracts.refs import Target
from tasks.problems.cells import Cell, find_unseen, plain, read_name
from tasks.problems.metric import Floats, Indices, Probabilities
from tasks.problems.multilabel_metrics import METRICS, LabelScorer, average_precision
from tasks.problems.problem import Decision, DetailParts, LossOptions, Problem, WrongRow
from tasks.problems.scoring import align

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation
    from torch import Tensor

SEPARATOR = "|"
NO_LABELS = "[]"
CURVE_POINTS = 50
"""Places on the curve of precision over recall."""
CURVES = 8
"""Labels that have a curve: those with the most rows."""


class Multilabel(Problem):
    """See Problem."""

    name = "multilabel"
    metrics = METRICS
    gate_metric = "macro_f1"
    baseline_metric = "mean_ap"
    validation_metric = "micro_f1"
    headline = ("exact_match", "macro_f1")
    decision: ClassVar[Literal["thresholds"]] = "thresholds"
    reads_lists = True
    model_noun = "A model that gives labels"
    mistakes_title = "Rows with the most wrong labels"

    def read_cell(self, cell: Any, column: str) -> Cell:
        """Of a list, a JSON list, or a text with labels separated by `|`; an empty list says that there are none."""
        text = None if isinstance(cell, list) else str(plain(cell))
        if text is None or text.startswith("["):
            items = cell if text is None else _json_list(text)
            if items is None:
                return None, ("bad-label", f"column {column!r}: {str(text)[:50]!r} is not a JSON list")
            if any(isinstance(item, (list, dict, bytes)) or plain(item) is None for item in items):
                return None, ("bad-label", f"column {column!r}: the list holds what is no label, or an empty one")
        else:
            items = [part for part in text.split(SEPARATOR) if part.strip()]
            if not items:
                detail = f"column {column!r}: {text[:50]!r} names no label; [] says that there is none"
                return None, ("bad-label", detail)
        labels = []
        for item in items:
            label, fault = read_name(item)
            if label is None:
                return None, fault
            if SEPARATOR in label or label.startswith("["):
                return None, ("bad-label", f"{label[:50]!r}: a label may not hold {SEPARATOR!r} or begin with '['")
            labels.append(label)
        return join_labels(labels), None

    def labels_of(self, text: str) -> tuple[str, ...]:
        """Those in the set."""
        return split_labels(text)

    def text_of(self, labels: Sequence[str]) -> str:
        """Of a set."""
        return join_labels(labels)

    def encode(self, cells: Sequence[str | None], target: Target) -> NDArray[Any]:
        """(N, L) float32, see `to_members`."""
        return to_members(cells, target.labels)

    def loss(self, logits: Tensor, soft: Tensor, options: LossOptions, weights: Tensor | None) -> Tensor:
        """The mean over labels of binary cross-entropy, or focal; `weights` (L,) scale the terms of labels that a row has."""
        from torch.nn import functional

        there, absent = -functional.logsigmoid(logits), -functional.logsigmoid(-logits)
        if options.loss == "focal":
            chance = logits.sigmoid()
            there = there * (1 - chance).clamp(min=1e-6) ** options.focal_gamma
            absent = absent * chance.clamp(min=1e-6) ** options.focal_gamma
        if weights is not None:
            there = there * weights
        return (soft * there + (1 - soft) * absent).mean(dim=1)

    def activate(self, logits: Tensor, target: Target) -> Tensor:
        """A share per label."""
        return logits.sigmoid()

    def logits_of(self, outputs: Tensor, target: Target) -> Tensor:
        """Log-odds."""
        return outputs.clamp(1e-7, 1 - 1e-7).logit()

    def class_weights(self, encoded: Tensor, width: int) -> Tensor:
        """Rows without the label / rows with it."""
        import torch

        weights = torch.ones(width)
        known = encoded[~encoded.isnan().any(dim=1)].cpu()
        counts = known.sum(dim=0)
        there = counts > 0
        weights[there] = (len(known) - counts[there]) / counts[there]
        return weights

    def sampling_groups(self, encoded: NDArray[Any]) -> Indices | None:
        """The row's rarest label; rows without any, or unknown, are one group of their own."""
        there = np.nan_to_num(encoded) > 0
        counts = there.sum(axis=0)
        rarest = np.where(there, counts, np.iinfo(np.int64).max).argmin(axis=1)
        return np.where(there.any(axis=1), rarest, -1)

    def validation_score(self, outputs: NDArray[Any], encoded: NDArray[Any], target: Target) -> float:
        """Micro F1 of the labels from 0.5 on."""
        predicted, there = decide_labels(outputs), encoded > 0.5
        return float(2 * (predicted & there).sum() / max(int(predicted.sum() + there.sum()), 1))

    def answer(
        self, outputs: Probabilities, target: Target, decision: Decision
    ) -> tuple[list[str], NDArray[np.float32] | None]:
        """The labels from their thresholds on; the probability is the product over all labels."""
        predicted = decide_labels(outputs, decision)
        chances = np.where(predicted, outputs, 1 - outputs).astype(np.float64).prod(axis=1)
        names = [join_labels(np.asarray(target.labels, object)[row]) for row in predicted]
        return names, chances.astype(np.float32)

    def scorer(
        self,
        outputs: Probabilities,
        cells: Sequence[str | None],
        target: Target,
        labels: tuple[str, ...],
        decision: Decision,
    ) -> LabelScorer:
        """A label that the model does not know is never predicted."""
        predicted = decide_labels(outputs, decision)
        wide = align(predicted.astype(np.float64), target.labels, labels) > 0
        there = np.nan_to_num(to_members(cells, labels)) > 0
        return LabelScorer(align(outputs, target.labels, labels).astype(np.float64), wide, there)

    def find_gaps(self, name: str, rows: Mapping[tuple[str, str], int]) -> list[str]:
        """The same labels in all rows of train, or a label that train lacks."""
        train = [set(split_labels(text)) for text, split in rows if split == "train"]
        if train and all(labels == train[0] for labels in train):
            return [f"{name}: every row of train has the same labels; there is nothing to tell apart"]
        return find_unseen(name, [(label, split) for text, split in rows for label in split_labels(text)])

    def label_expectations(self, labels: tuple[str, ...]) -> list[Expectation]:
        """None besides being filled."""
        return []

    def output_contract(self, target: Target) -> OutputContract:
        """Shares; an answer holds only labels of the model."""
        return OutputContract(self.width(target), target.labels, answers="labels", are_shares=True, sum_to_1=False)

    def details(self, scored: LabelScorer, labels: tuple[str, ...]) -> DetailParts:
        """Per label its figures, and for the most frequent ones a curve."""
        most = np.argsort(-scored.truth.sum(axis=0), kind="stable")[:CURVES]
        return {
            "per_class": tuple(_label(scored, place, label) for place, label in enumerate(labels)),
            "pr_curves": tuple(
                PrecisionRecallCurve(label=labels[n], points=_curve(scored.probabilities[:, n], scored.truth[:, n]))
                for n in sorted(most)
                if scored.truth[:, n].any()
            ),
        }

    def mistakes(self, scored: LabelScorer, labels: tuple[str, ...], most: int) -> tuple[list[WrongRow], int]:
        """The rows with the most wrong labels."""
        wrong = (scored.predicted != scored.truth).sum(axis=1)
        worst = [int(n) for n in np.argsort(-wrong, kind="stable")[:most] if wrong[n]]
        names = np.asarray(labels, object)
        found = [
            WrongRow(n, join_labels(names[scored.truth[n]]), join_labels(names[scored.predicted[n]])) for n in worst
        ]
        return found, int((wrong > 0).sum())

    def describe_model(self, inputs: str, labels: int) -> str:
        """For the model card."""
        return f"A model that gives {inputs} any number of {labels} labels"

    def count_labels(self, target: Target) -> str:
        """`10 labels`."""
        return f"{len(target.labels)} labels"


def decide_labels(probabilities: Probabilities, thresholds: Decision = None) -> NDArray[np.bool_]:
    """(N, L) probabilities of labels that exclude nothing to (N, L): which are given, those from 0.5 or their threshold on."""
    limits = np.full(probabilities.shape[1], 0.5) if thresholds is None else np.asarray(thresholds)
    return np.asarray(np.nan_to_num(probabilities) >= limits)


def join_labels(labels: Iterable[str]) -> str:
    """The text of a set of labels."""
    return SEPARATOR.join(sorted(set(labels))) or NO_LABELS


def split_labels(text: str) -> tuple[str, ...]:
    """The set of labels in a text."""
    return () if text == NO_LABELS else tuple(text.split(SEPARATOR))


def to_members(cells: Sequence[str | None], labels: Sequence[str]) -> NDArray[np.float32]:
    """(N, L) 1 where a row has the label, NaN in every place of a row whose cell is unknown; other labels are left out."""
    positions = {label: index for index, label in enumerate(labels)}
    found = np.zeros((len(cells), len(labels)), np.float32)
    for row, cell in enumerate(cells):
        if cell is None:
            found[row] = np.nan
            continue
        for label in split_labels(cell):
            if label in positions:
                found[row, positions[label]] = 1.0
    return found


def _json_list(text: str) -> list[Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # the second of "[" a thousand times
        return None
    return found if isinstance(found, list) else None


def _label(scored: LabelScorer, place: int, label: str) -> ClassFigures:
    predicted, truth = scored.predicted[:, place], scored.truth[:, place]
    hits, support, answers = int((predicted & truth).sum()), int(truth.sum()), int(predicted.sum())
    precision = average_precision(scored.probabilities[:, place], truth, np.ones((1, scored.rows)))[0]
    return ClassFigures(
        label=label,
        precision=hits / answers if answers else None,
        recall=hits / support if support else None,
        f1=2 * hits / (support + answers) if support + answers else 0.0,
        average_precision=float(precision) if np.isfinite(precision) else None,
        support=support,
        predicted=answers,
    )


def _curve(scores: Floats, truth: NDArray[np.bool_]) -> tuple[tuple[float, float], ...]:
    """(recall, precision) at thresholds between different scores, thinned out to CURVE_POINTS places."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    hits, seen = np.cumsum(truth[order])[last], (np.arange(len(order)) + 1)[last]
    kept = np.unique(np.linspace(0, len(hits) - 1, min(len(hits), CURVE_POINTS)).astype(int))
    return tuple((float(hits[n] / truth.sum()), float(hits[n] / seen[n])) for n in kept)
