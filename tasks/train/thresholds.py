"""Decision offsets chosen on the validation rows for the best macro F1 (train.tune_thresholds). Pure numpy.

Coordinate search: with the other classes' offsets fixed, every row has a margin from which on it would be answered with
this class, so one sort tries every different decision. Offsets fitted to few rows promise more than they keep; they are
taken only where offsets from four fifths of the validation rows also improve the macro F1 of the fifth left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.training_history import ThresholdTuning
from tasks.modeling.card import DecisionRule, ModelCard
from tasks.modeling.decision import column_slices
from tasks.problems.multiclass import decide
from tasks.problems.multilabel import decide_labels
from tasks.problems.registry import problem_of

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

ROUNDS = 10
FOLDS = 5
LARGEST = 5.0
"""No class is pushed further, in nats: a factor of 150 on its odds."""


def tune_card(
    card: ModelCard, outputs: NDArray[np.floating[Any]], truth: Indices | NDArray[np.bool_]
) -> tuple[ModelCard, ThresholdTuning]:
    """The card with offsets for the first label column where they help on these validation rows, or with one threshold for
    each label; and the record of it.

    `outputs` (N, outputs); `truth` (N,) class indices, or (N, L) which labels a row has.
    """
    probabilities = outputs[:, column_slices(card.label_targets)[0]]
    if problem_of(card.label_targets[0]).decision == "thresholds":
        thresholds, record = _tune_sets(probabilities, truth > 0)
        rule = None if thresholds is None else DecisionRule(thresholds=tuple(thresholds))
    else:
        offsets, record = tune_decision(probabilities, truth.astype(np.int64))
        rule = None if offsets is None else DecisionRule(offsets=tuple(offsets))
    return card.model_copy(update={"decision": rule}), record


def _tune_sets(
    probabilities: NDArray[np.floating[Any]], truth: NDArray[np.bool_]
) -> tuple[list[float] | None, ThresholdTuning]:
    """As `tune_decision`, for labels that exclude nothing."""
    before = _mean_f1(decide_labels(probabilities), truth)
    thresholds = tune_label_thresholds(probabilities, truth)
    after = _mean_f1(decide_labels(probabilities, thresholds), truth)
    folds = np.arange(len(truth)) % FOLDS
    answers = decide_labels(probabilities)
    for fold in range(min(FOLDS, len(truth))):
        inside = folds == fold
        apart = tune_label_thresholds(probabilities[~inside], truth[~inside])
        answers[inside] = decide_labels(probabilities[inside], apart)
    left_out = _mean_f1(answers, truth)
    helps = left_out > before
    record = ThresholdTuning(macro_f1=before, tuned_macro_f1=after, left_out_macro_f1=left_out, used=helps)
    return (thresholds if helps else None), record


def _mean_f1(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """The mean F1 over the labels that occur in `truth`."""
    there = truth.any(axis=0)
    f1 = 2 * (predicted & truth).sum(axis=0)[there] / np.maximum((predicted.sum(axis=0) + truth.sum(axis=0))[there], 1)
    return float(f1.mean()) if there.any() else 0.0


def tune_decision(
    probabilities: NDArray[np.floating[Any]], truth: Indices
) -> tuple[list[float] | None, ThresholdTuning]:
    """(offsets or None, record) from validation probabilities (N, C) and class indices (N,).

    None where they do not help on rows that they were not chosen on. The record holds the macro F1 with and without, on
    the rows themselves and on rows left out.
    """
    before = macro_f1(decide(probabilities), truth)
    offsets = coordinate_search(probabilities, truth)
    after = macro_f1(decide(probabilities, list(offsets)), truth)
    apart = _left_out(probabilities, truth)
    helps = apart > before
    record = ThresholdTuning(macro_f1=before, tuned_macro_f1=after, left_out_macro_f1=apart, used=bool(helps))
    return ([float(value) for value in offsets] if helps else None), record


def coordinate_search(probabilities: NDArray[np.floating[Any]], truth: Indices) -> Floats:
    """Offsets (C,) that no change of a single one improves, or those after ROUNDS rounds; 0 for classes without rows."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), 1e-12))
    offsets = np.zeros(logs.shape[1])
    best = macro_f1(decide(probabilities), truth)
    for _ in range(ROUNDS):
        improved = False
        for c in np.unique(truth):
            value, reached = _best_offset(logs + offsets, int(c), truth, offsets[c])
            if reached > best + 1e-9:
                offsets[c], best, improved = value, reached, True
        if not improved:
            break
    return offsets


def macro_f1(answers: Indices, truth: Indices) -> float:
    """The mean F1 over the classes that occur in `truth`."""
    classes = int(max(answers.max(), truth.max())) + 1
    hits, support, predicted = _counts(answers, truth, classes)
    there = support > 0
    return float((2 * hits[there] / (support + predicted)[there]).mean())


def tune_label_thresholds(probabilities: NDArray[np.floating[Any]], truth: NDArray[np.bool_]) -> list[float]:
    """(N, L) probabilities and truths of labels that exclude nothing -> one threshold each, for the best F1 of the label.

    The threshold lies midway between two probabilities that occur. 0.5 where a label never occurs, or gains nothing.
    """
    found = []
    for predicted, right in zip(probabilities.astype(np.float64).T, truth.T, strict=True):
        order = np.argsort(-predicted, kind="stable")
        hits = np.cumsum(right[order])
        f1 = 2 * hits / (np.arange(1, len(predicted) + 1) + max(int(right.sum()), 1))
        ends = np.append(predicted[order][:-1] > predicted[order][1:], True)  # between equals there is no threshold
        place = int(np.where(ends, f1, -1.0).argmax())
        below = predicted[order][place + 1] if place + 1 < len(predicted) else 0.0
        plain = decide_labels(predicted[:, None])[:, 0]
        reached = 2 * (plain & right).sum() / max(int(plain.sum() + right.sum()), 1)
        better = right.any() and f1[place] > reached + 1e-9
        found.append(float((predicted[order][place] + below) / 2) if better else 0.5)
    return found


def _best_offset(scores: Floats, c: int, truth: Indices, now: float) -> tuple[float, float]:
    """(offset, macro F1) of the best offset of class `c`, whose present one, `now`, is contained in `scores` (N, C)."""
    classes = scores.shape[1]
    own = scores[:, c] - now
    others = scores.copy()
    others[:, c] = -np.inf
    runner_up = others.argmax(axis=1)
    margins = others[np.arange(len(scores)), runner_up] - own  # from this offset on the row is answered with c
    order = np.argsort(margins, kind="stable")
    hits, support, predicted = _counts(runner_up, truth, classes)
    there = max(int((support > 0).sum()), 1)
    f1 = np.divide(2 * hits, support + predicted, out=np.zeros(classes), where=(support + predicted) > 0)
    f1[support == 0] = 0
    # What the k first rows, in order of their margins, do to the F1 of the class that each would have been answered with.
    lost = _running_loss(runner_up[order], truth[order], (hits, support, predicted))
    count = np.arange(len(order) + 1)
    right = np.concatenate([[0], np.cumsum(truth[order] == c)])
    total = (f1.sum() - f1[c] - lost + 2 * right / (support[c] + count)) / there
    # k rows are answered with c for every offset between the k-th margin and the next.
    edges = np.concatenate([[-np.inf], margins[order], [np.inf]])
    low, high = np.maximum(edges[:-1], -LARGEST), np.minimum(edges[1:], LARGEST)
    total = np.where(high - low > 1e-9, total, -1.0)
    best = np.flatnonzero(total >= total.max() - 1e-12)
    middles = (low[best] + high[best]) / 2
    nearest = int(np.abs(middles - now).argmin())
    return float(middles[nearest]), float(total[best[nearest]])


def _running_loss(runner_up: Indices, truth: Indices, counts: tuple[Floats, Floats, Floats]) -> Floats:
    """(N + 1,) how much F1 the runner-up classes have lost together once their first k rows are taken from them."""
    hits, support, predicted = counts
    group = np.argsort(runner_up, kind="stable")
    classes, starts = np.unique(runner_up[group], return_index=True)
    sizes = np.diff(np.append(starts, len(group)))
    taken = np.arange(len(group)) - np.repeat(starts, sizes) + 1  # of this row's runner-up, up to and with this row
    right = (truth[group] == runner_up[group]).astype(np.float64)
    summed = np.cumsum(right)
    taken_right = summed - np.repeat(summed[starts] - right[starts], sizes)
    own = np.repeat(classes, sizes)
    whole = support[own] + predicted[own]

    def share(hit: Floats, all_of: Floats) -> Floats:
        """(N,) the F1 of each row's runner-up class: 2 `hit` / `all_of`; 0 for a class that no row is of."""
        found = np.divide(2 * hit, all_of, out=np.zeros(len(hit)), where=all_of > 0)
        found[support[own] == 0] = 0
        return found

    after = share(hits[own] - taken_right, whole - taken)
    before = share(hits[own] - taken_right + right, whole - taken + 1)
    steps = np.empty(len(group))
    steps[group] = before - after
    return np.concatenate([[0.0], np.cumsum(steps)])


def _left_out(probabilities: NDArray[np.floating[Any]], truth: Indices) -> float:
    """The macro F1 of answers each made with offsets from the other folds; the rows of a class are dealt out in turn."""
    fold = np.empty(len(truth), np.int64)
    dealt = 0
    for c in np.unique(truth):
        rows = np.flatnonzero(truth == c)
        fold[rows] = (np.arange(len(rows)) + dealt) % FOLDS
        dealt += len(rows)
    answers = decide(probabilities)
    for number in range(FOLDS):
        inside, outside = fold == number, fold != number
        if inside.any() and outside.any():
            offsets = coordinate_search(probabilities[outside], truth[outside])
            answers[inside] = decide(probabilities[inside], list(offsets))
    return macro_f1(answers, truth)


def _counts(answers: Indices, truth: Indices, classes: int) -> tuple[Floats, Floats, Floats]:
    """Per class (C,): rows answered rightly, rows that are of it, rows answered with it."""
    hits, support, predicted = (
        np.bincount(which, minlength=classes).astype(np.float64) for which in (truth[answers == truth], truth, answers)
    )
    return hits, support, predicted
