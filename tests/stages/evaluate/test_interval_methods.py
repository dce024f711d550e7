"""Closed intervals and the estimates they start from: against published values, other formulas, and at the edges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference

from data_contracts.refs import EvalReport
from flows.summary import intervals_of
from tasks.problems import class_estimates, label_estimates, regression
from tasks.problems.intervals import MIN_ROWS, bounded_normal, find_interval, mean_estimate, tail_freedom
from tasks.problems.metric import Estimate
from tasks.problems.multiclass_metrics import score_classes
from tasks.problems.multilabel_metrics import LabelScorer
from tasks.problems.registry import get_metric
from tasks.problems.regression import NumberScorer
from tasks.run_log import log_evaluation
from tests.support.classifiers import make_probabilities

STEP = 1e-6
Figure = Callable[[np.ndarray], float]


def change_by_row(figure: Figure, rows: int) -> np.ndarray:
    """(N,) N times what a figure of weighted rows changes by when one row weighs more, per unit of weight."""
    ones = np.ones(rows)
    return (
        np.array([(figure(ones + STEP * (np.arange(rows) == row)) - figure(ones)) / STEP for row in range(rows)]) * rows
    )


@pytest.mark.parametrize("name", ["macro_f1", "macro_recall", "macro_precision", "mcc", "brier", "log_loss"])
def test_a_rows_influence_is_how_the_figure_changes_with_its_weight(name: str) -> None:
    probabilities, truth = make_probabilities(40, 3, 1.0)
    scored = score_classes(probabilities, truth)
    predicted, hot = scored.predicted, np.eye(3)[truth]
    score = {
        "macro_f1": lambda w: reference.f1_score(truth, predicted, average="macro", sample_weight=w),
        "macro_recall": lambda w: reference.recall_score(truth, predicted, average="macro", sample_weight=w),
        "macro_precision": lambda w: reference.precision_score(truth, predicted, average="macro", sample_weight=w),
        "mcc": lambda w: reference.matthews_corrcoef(truth, predicted, sample_weight=w),
        "brier": lambda w: float(np.average(((probabilities - hot) ** 2).sum(axis=1), weights=w)),
        "log_loss": lambda w: float(np.average(-np.log(probabilities[np.arange(40), truth]), weights=w)),
    }[name]
    row = next(metric for metric in scored.metrics if metric.name == name)
    assert row.estimate is not None
    found = row.estimate(scored)
    assert found is not None
    assert found.value == pytest.approx(score(np.ones(40)))
    assert found.influence == pytest.approx(change_by_row(score, 40), abs=2e-3)


def test_the_influence_on_the_average_precision_with_equal_scores() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(30) < 0.4
    scores = np.round(generator.random(30) + 0.5 * truth, 1)
    value, influence, above = label_estimates.precision_influence(scores, truth)
    figure = lambda w: reference.average_precision_score(truth, scores, sample_weight=w)  # noqa: E731
    assert value == pytest.approx(figure(np.ones(30)))
    assert influence == pytest.approx(change_by_row(figure, 30), abs=1e-3)
    assert 0 < above < 0.1


def test_the_variance_of_the_auroc_is_that_of_every_pair() -> None:
    """DeLong et al. 1988, eq. 4 to 6, by comparing every positive with every negative."""
    probabilities, truth = make_probabilities(60, 2, 0.7)
    found = class_estimates.auroc(score_classes(probabilities, truth))
    assert found is not None
    positive, negative = probabilities[truth == 1, 1], probabilities[truth == 0, 1]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert found.value == pytest.approx(wins.mean())
    sides = (wins.mean(axis=1), wins.mean(axis=0))
    expected = sum(side.var() / len(side) for side in sides)
    assert np.square(found.influence).sum() / 60**2 == pytest.approx(expected)
    assert expected < found.variance < 1.1 * expected, "one more row on each side"


def test_the_calibration_error_of_one_bin_by_hand() -> None:
    """Ten rows of confidence 0.8, six right: the gap is -0.2, its square 0.04; chance adds the variance of the mean,
    with one more row of variance 0.8 * 0.2 as the model says."""
    probabilities = np.tile([0.8, 0.2], (10, 1))
    scored = score_classes(probabilities, np.array([0] * 6 + [1] * 4))
    found = class_estimates.calibration_error(scored)
    assert found.square == pytest.approx(0.04)
    assert found.variance == pytest.approx((6 * 0.4**2 + 4 * 0.6**2 + 0.8 * 0.2) / 100)
    assert found.value == pytest.approx((0.04 - found.variance) ** 0.5)
    assert found.freedom == pytest.approx(1.0)
    # Of the root of a square the slope is half its inverse; below its own noise the root is taken to be that.
    floor = max(found.value, (2 * found.variance**2) ** 0.25)
    assert found.influence == pytest.approx(-0.2 * (scored.correct - 0.6) / floor)


def test_ranks_without_a_mistake_vary_by_one_more_row_on_each_side() -> None:
    """Hanley & McNeil 1982 for exponential scores, at half a row below 1 of 20 rows."""
    truth = np.repeat([0, 1], [8, 12])
    scores = np.linspace(0.1, 0.9, 20)
    found = class_estimates.auroc(score_classes(np.stack([1 - scores, scores], axis=1), truth))
    assert found is not None
    area = 1 - 1 / 40
    by_positives, by_negatives = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    least = area * (1 - area) / 10
    assert (found.value, np.abs(found.influence).max()) == (1.0, 0.0)
    assert found.variance == pytest.approx(max(by_positives, least) / 12**2 + max(by_negatives, least) / 8**2)


def test_losses_are_means_of_which_the_normal_distribution_is_taken() -> None:
    scored = score_classes(*make_probabilities(40, 3, 1.0))
    assert (class_estimates.brier(scored).freedom, class_estimates.log_loss(scored).freedom) == (np.inf, np.inf)


def test_bins_hold_as_many_rows_as_equal_values_allow() -> None:
    assert np.bincount(class_estimates.equal_bins(np.linspace(0, 1, 150))).tolist() == [10] * 15
    assert len(np.unique(class_estimates.equal_bins(np.linspace(0, 1, 50)))) == 10
    assert class_estimates.equal_bins(np.array([0.3, 0.9, 0.9, 0.9] * 5)).tolist() == [0, 1, 1, 1] * 5


def test_a_calibrated_models_error_is_not_above_0_but_by_chance() -> None:
    """With bins of equal width and no correction it was 4 to 9 points, and no interval reached 0."""
    found = []
    for seed in range(40):
        probabilities, truth = make_probabilities(200, 3, 1.0, seed)
        found.append(score_classes(probabilities, truth).intervals(0)["ece"])
    assert sum(low == 0.0 for low, _ in found) >= 34
    assert all(0 < high < 0.2 for _, high in found)


@pytest.mark.parametrize(
    ("seen", "confidence", "low", "high"),
    # Feldman & Cousins 1998, table X
    [(-3.0, 0.90, 0.0, 0.26), (-1.0, 0.90, 0.0, 0.81), (0.0, 0.90, 0.0, 1.64), (1.0, 0.90, 0.0, 2.64),
     (1.3, 0.90, 0.02, 2.94), (-3.0, 0.95, 0.0, 0.42), (0.0, 0.95, 0.0, 1.96)],
)  # fmt: skip
def test_a_bounded_mean_against_published_values(seen: float, confidence: float, low: float, high: float) -> None:
    assert bounded_normal(seen, confidence) == pytest.approx((low, high), abs=0.006)


def test_far_from_its_bound_a_mean_has_the_usual_interval() -> None:
    assert bounded_normal(9.0, 0.95) == pytest.approx((9 - 1.96, 9 + 1.96), abs=1e-3)
    lows = [bounded_normal(seen, 0.95)[0] for seen in np.linspace(1, 5, 41)]
    assert lows == sorted(lows)


def test_the_interval_of_a_skewed_mean_reaches_further_to_its_long_side() -> None:
    """And without skewness it is that of Student's t."""
    lopsided = np.array([0.0] * 90 + [1.0] * 10)
    low, high = find_interval("hall", mean_estimate(lopsided), 0.95) or (0, 0)
    assert high - 0.1 > 1.3 * (0.1 - low)
    even = np.array([-1.0, 1.0] * 10)
    assert find_interval("hall", mean_estimate(even), 0.95) == pytest.approx((-0.4802, 0.4802), abs=1e-4)


def test_degrees_of_freedom_are_those_of_normal_rows_or_of_the_few_that_vary() -> None:
    assert tail_freedom(np.random.default_rng(0).normal(size=100_000)) == pytest.approx(100_000, rel=0.05)
    assert tail_freedom(np.array([0.0] * 997 + [1.0] * 3)) == pytest.approx(6, rel=0.01)
    assert tail_freedom(np.zeros(9)) == 2.0


def test_r2_and_rmse_vary_as_a_bootstrap_says() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=400)
    scored = NumberScorer(truth + 0.5 * generator.normal(size=400), truth)
    counts = scored.count(generator.integers(0, 400, (2_000, 400)))
    found = regression.explained_variance(scored)
    assert found is not None
    assert found.variance**0.5 == pytest.approx(regression.explained(counts).std(), rel=0.1)
    rmse = get_metric("rmse")
    assert rmse.compute is not None
    assert regression.root_squared_error(scored).variance ** 0.5 == pytest.approx(rmse.compute(counts).std(), rel=0.1)


@pytest.mark.parametrize(("right", "end"), [(True, 1), (False, 0)])
def test_answers_that_are_all_right_or_all_wrong_prove_no_more_than_their_number(right: bool, end: int) -> None:
    truth = np.arange(60) % 3
    sure = np.eye(3)[truth if right else (truth + 1) % 3] * 0.7 + 0.1
    found = score_classes(sure, truth).intervals(0)
    for name in ("accuracy", "macro_f1", "macro_recall", "macro_precision", *(["auroc"] if right else [])):
        assert found[name][end] == end, name
        assert 0.01 < found[name][1] - found[name][0] < 0.25, name
    assert found["accuracy"][1 - end] == pytest.approx(0.9398 if right else 0.0602, abs=1e-4)


def test_three_rows_that_are_all_right_have_an_accuracy_and_no_other_interval() -> None:
    assert set(score_classes(np.eye(3), np.arange(3)).intervals(0)) == {"accuracy"}
    truth = np.eye(3) > 0
    assert set(LabelScorer(np.eye(3), truth, truth).intervals(0)) == {"exact_match"}
    assert NumberScorer(np.arange(3.0), np.arange(3.0)).intervals(0) == {}


def test_a_class_with_four_rows_has_too_few() -> None:
    for rows, names in ((MIN_ROWS, {"macro_f1", "macro_recall", "auroc", "mcc", "ece"}), (MIN_ROWS - 1, set())):
        truth = np.array([0] * 40 + [1] * rows)
        probabilities, _ = make_probabilities(len(truth), 2, 0.0)
        found = score_classes(probabilities, truth).intervals(0)
        assert names <= set(found) if names else set(found) == {"accuracy"}


def test_one_class_only_has_an_accuracy() -> None:
    probabilities, _ = make_probabilities(50, 2, 0.0)
    assert set(score_classes(probabilities, np.zeros(50, np.int64)).intervals(0)) >= {"accuracy"}
    assert "mcc" not in score_classes(probabilities, np.zeros(50, np.int64)).intervals(0)


def test_differences_stay_within_their_range() -> None:
    truth = np.array([0, 1] * 4)
    right, wrong = np.eye(2)[truth] * 0.5 + 0.25, np.eye(2)[1 - truth] * 0.5 + 0.25
    right[0], wrong[1] = wrong[0].copy(), right[1].copy()
    found = score_classes(right, truth).differences(score_classes(wrong, truth), 0)
    assert found["auroc"][2] == 1.0, "its standard error reaches beyond"
    for name, (value, low, high) in found.items():
        width = get_metric(name).high - get_metric(name).low
        assert -width <= low <= value <= high <= width, name


def test_an_estimate_without_variance_is_its_own_interval() -> None:
    still = Estimate(0.5, np.zeros(9), 0.0)
    assert find_interval("hall", still, 0.95) == (0.5, 0.5)
    assert find_interval("root-mean-square", replace(still, freedom=1.0), 0.95) == (0.5, 0.5)
    assert find_interval("log-rest", replace(still, value=1.0), 0.95) == (1.0, 1.0)


def test_a_figure_without_an_interval_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = score_classes(np.eye(3), np.arange(3))
    report = EvalReport(
        uri="evaluations/r", sha256="0" * 64, rows=3, model_sha256="0" * 64, metrics={"test": scored.score()},
        intervals=scored.intervals(0), by_modalities={}, majority_share=1 / 3,
    )  # fmt: skip
    lines: list[str] = []
    monkeypatch.setattr("tasks.run_log.log", lambda text, *_: lines.append(text))
    log_evaluation(report, reused=False)
    assert "accuracy 1.000 [0.439, 1.000], macro_f1 1.000 (too few rows for an interval)" in lines[0]
    found = intervals_of(report)
    assert found["macro_f1"] is None
    assert found["accuracy"] == pytest.approx((0.4385, 1.0), abs=1e-4)
