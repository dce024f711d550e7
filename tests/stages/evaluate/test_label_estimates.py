"""How figures of label sets vary: influence against scikit-learn's weighted figures, and the variance by its formula."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from tasks.problems import class_estimates
from tasks.problems.label_estimates import MIN_POSITIVES, counted, mean_precision, pooled, precision_influence
from tasks.problems.multiclass_metrics import score_classes
from tasks.problems.multilabel_metrics import LabelScorer
from tasks.problems.table_estimates import f1_effects, recall_effects
from tests.support.classifiers import make_probabilities

STEP = 1e-6


@pytest.fixture
def scored() -> LabelScorer:
    generator = np.random.default_rng(0)
    truth = generator.random((40, 3)) < (0.5, 0.4, 0.6)
    probabilities = np.clip(0.35 * truth + 0.65 * generator.random((40, 3)), 0, 1)
    return LabelScorer(probabilities, probabilities > 0.5, truth)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_counts_of_labels_change_as_weighted_rows_change_them(scored: LabelScorer, average: str) -> None:
    def figure(weights: np.ndarray) -> float:
        return float(reference.f1_score(scored.truth, scored.predicted, average=average, sample_weight=weights))

    found = (pooled if average == "micro" else counted)(f1_effects)(scored)
    ones = np.ones(40)
    changes = [(figure(ones + STEP * (np.arange(40) == row)) - figure(ones)) / STEP * 40 for row in range(40)]
    assert found.value == pytest.approx(figure(ones))
    assert found.influence == pytest.approx(np.array(changes), abs=2e-3)
    assert found.variance >= np.square(found.influence).sum() / 40**2


def test_counts_of_classes_do_too() -> None:
    scored = score_classes(*make_probabilities(40, 3, 1.0))
    found = class_estimates.counted(recall_effects)(scored)
    assert found.value == pytest.approx(reference.recall_score(scored.truth, scored.predicted, average="macro"))
    assert np.abs(found.influence).sum() > 0


def test_the_mean_average_precision_is_drawn_towards_a_share_label_by_label(scored: LabelScorer) -> None:
    found = mean_precision(scored)
    assert found is not None
    labels = [precision_influence(scored.probabilities[:, label], scored.truth[:, label]) for label in range(3)]
    influence = sum(each for _, each, _ in labels) / 3
    lacking = 0.0
    for (value, each, _), positives in zip(labels, scored.truth.sum(axis=0), strict=True):
        missing = value * (1 - value) - np.square(each).sum() / 40**2 * positives
        lacking += max(missing, 0.0) / positives / (positives + 1)
    assert found.value == pytest.approx(
        reference.average_precision_score(scored.truth, scored.probabilities, average="macro")
    )
    assert found.influence == pytest.approx(influence)
    assert found.variance == pytest.approx(np.square(influence).sum() / 40 / 39 + lacking / 9)
    assert found.bias == pytest.approx(sum(above for _, _, above in labels) / 3)
    assert found.bias > 0


def test_a_perfect_order_varies_as_half_a_row_below_it() -> None:
    truth = np.repeat([[True], [False]], 15, axis=0)
    found = mean_precision(LabelScorer(np.where(truth, 0.9, 0.1), truth, truth))
    assert found is not None
    near = 1 - 1 / 60
    assert found.value == pytest.approx(1.0)
    assert found.variance == pytest.approx(near * (1 - near) / 15 / 16, abs=1e-5)


@pytest.mark.parametrize("positives", [MIN_POSITIVES, MIN_POSITIVES - 1])
def test_the_rarest_label_decides_whether_there_are_enough(positives: int) -> None:
    truth = np.stack([np.arange(40) < 20, np.arange(40) >= 40 - positives, np.zeros(40, bool)], axis=1)
    found = mean_precision(LabelScorer(np.full((40, 3), 0.5), truth, truth))
    assert found is not None
    assert found.enough is (positives >= MIN_POSITIVES)
    assert mean_precision(LabelScorer(np.full((40, 3), 0.5), truth & False, truth & False)) is None
