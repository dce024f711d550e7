"""Metrics by value: against scikit-learn, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as reference

from tasks.problems.class_estimates import auroc, midranks
from tasks.problems.multiclass_metrics import (
    calibration,
    confusion,
    per_class,
    score_classes,
)
from tasks.problems.registry import metric_names

Classifier = Callable[..., tuple[np.ndarray, np.ndarray]]


@pytest.mark.parametrize(("rows", "classes", "skill"), [(200, 2, 1.0), (500, 10, 2.0), (40, 30, 1.0)])
def test_figures_equal_scikit_learn(classifier: Classifier, rows: int, classes: int, skill: float) -> None:
    probabilities, truth = classifier(rows, classes, skill)
    predicted = probabilities.argmax(axis=1)
    found = score_classes(probabilities, truth).score()
    averages = reference.precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert [found["macro_precision"], found["macro_recall"], found["macro_f1"]] == pytest.approx(averages[:3])
    assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(truth, predicted))
    areas = [reference.roc_auc_score(truth == c, probabilities[:, c]) for c in np.unique(truth)]
    assert found["auroc"] == pytest.approx(np.mean(areas))


def test_figures_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.3, 0.7, 0.0], [0.2, 0.8, 0.0]])
    found = score_classes(probabilities, np.array([0, 1, 1, 1])).score()
    # class 0: precision 1/2, recall 1; class 1: precision 1, recall 2/3; class 2 never occurs and does not count
    assert found["accuracy"] == 0.75
    assert found["macro_precision"] == pytest.approx(0.75)
    assert found["macro_recall"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    # one bin of four rows, correct minus confidence 0.1, -0.6, 0.3, 0.2: their mean is 0, but for chance
    assert found["ece"] == 0.0
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.8]).mean())
    assert found["brier"] == pytest.approx(2 * (0.1**2 + 0.6**2 + 0.3**2 + 0.2**2) / 4)
    assert found["auroc"] == 1.0


def test_answers_that_are_not_the_most_probable_class_are_judged_as_given() -> None:
    probabilities, truth = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([1, 0])
    found = score_classes(probabilities, truth, truth).score()
    assert (found["accuracy"], found["macro_f1"]) == (1.0, 1.0)
    noise = (2 * 0.05**2 + 0.15 * 0.85) / 4
    assert found["ece"] == pytest.approx((0.85**2 - noise) ** 0.5), "sure of neither"
    assert score_classes(probabilities[:1], np.array([0])).score()["macro_recall"] == 1.0, (
        "of the one class that occurs"
    )


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = score_classes(probabilities, np.array([0, 0])).score()
    assert found["macro_recall"] == pytest.approx(0.25)
    assert found["macro_precision"] == pytest.approx(0.5)
    assert found["auroc"] is None


def test_a_correlation_with_one_answer_only_is_zero_and_the_opposite_is_minus_one() -> None:
    same = score_classes(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    assert same.score()["mcc"] == 0.0
    opposite = score_classes(np.array([[0.1, 0.9], [0.9, 0.1]] * 20), np.array([0, 1] * 20))
    assert opposite.score()["mcc"] == -1.0
    low, high = opposite.intervals(0)["mcc"]
    assert (low, -1 < high < -0.6) == (-1.0, True)


def test_undefined_is_none() -> None:
    assert score_classes(np.zeros((0, 3)), np.zeros(0, dtype=np.int64)).score() == dict.fromkeys(
        metric_names("multiclass")
    )
    broken = np.array([[0.5, 0.5], [np.nan, np.nan]])
    assert score_classes(broken, np.array([0, 1])).score() == dict.fromkeys(metric_names("multiclass"))


def test_ties_count_half_in_the_auroc() -> None:
    flat = np.full((10, 2), 0.5)
    found = auroc(score_classes(flat, np.array([0, 1] * 5)))
    assert found is not None
    assert found.value == 0.5
    assert np.abs(found.influence).max() == 0


def test_calibration_bins_cover_every_row_once(classifier: Classifier) -> None:
    probabilities, truth = classifier(300, 5, 1.5)
    scored = score_classes(probabilities, truth)
    bins = calibration(scored)
    assert sum(b["count"] for b in bins) == 300
    assert all(b["low"] < b["confidence"] <= b["high"] + 1e-9 for b in bins if b["count"])
    certain = score_classes(np.array([[1.0, 0.0]]), np.array([0]))
    assert calibration(certain)[-1]["count"] == 1


def test_a_confidence_on_the_edge_of_two_bins_falls_into_the_lower_one() -> None:
    """Guo et al. 2017: bins are ((m - 1) / M, m / M]."""
    edges = np.array([[0.2] * 5, [0.6, 0.4, 0, 0, 0], [0.8, 0.2, 0, 0, 0], [1.0, 0, 0, 0, 0], [0.61, 0.39, 0, 0, 0]])
    assert score_classes(edges, np.zeros(5, np.int64)).bins.tolist() == [2, 8, 11, 14, 9]
    assert score_classes(np.array([[1.0, 0.0]]), np.array([0]), np.array([1])).bins.tolist() == [0], "a confidence of 0"


def test_a_confidence_above_1_by_rounding_falls_into_the_last_bin() -> None:
    above = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32)
    assert score_classes(above, np.array([0])).bins.tolist() == [14]


def test_every_bin_has_its_line() -> None:
    bins = calibration(score_classes(np.array([[0.2] * 5, [0.2] * 5]), np.array([0, 1])))
    assert bins[2] == {"low": 2 / 15, "high": 3 / 15, "count": 2, "confidence": pytest.approx(0.2), "accuracy": 0.5}
    assert [(line["low"], line["high"]) for line in bins] == [(b / 15, (b + 1) / 15) for b in range(15)]
    empty = bins[:2] + bins[3:]
    assert {(line["count"], line["confidence"], line["accuracy"]) for line in empty} == {(0, None, None)}


def test_a_class_without_rows_or_answers_has_no_recall_or_precision() -> None:
    scored = score_classes(np.array([[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [0, 0, 1, 0]]), np.array([0, 1, 0]))
    assert per_class(scored, ("a", "b", "c", "d")) == [
        {"label": "a", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2, "predicted": 2},
        {"label": "b", "precision": None, "recall": 0.0, "f1": 0.0, "support": 1, "predicted": 0},
        {"label": "c", "precision": 0.0, "recall": None, "f1": 0.0, "support": 0, "predicted": 1},
    ]


def test_equal_values_share_their_mean_rank() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 7.0])).tolist() == [2.5, 1.0, 2.5, 4.0]


def test_confusion_and_per_class_equal_scikit_learn(classifier: Classifier) -> None:
    probabilities, truth = classifier(200, 4, 1.0)
    scored = score_classes(probabilities, truth)
    matrix = np.zeros((4, 4), dtype=int)
    for true, predicted, rows in confusion(scored):
        matrix[true, predicted] = rows
    assert (matrix == reference.confusion_matrix(truth, scored.predicted)).all()
    expected = reference.precision_recall_fscore_support(truth, scored.predicted)
    table = per_class(scored, ("a", "b", "c", "d"))
    assert [row["label"] for row in table] == ["a", "b", "c", "d"]
    for column, name in enumerate(("precision", "recall", "f1", "support")):
        assert [row[name] for row in table] == pytest.approx(list(expected[column]))
