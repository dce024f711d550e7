"""Intervals: they contain the point, shrink with n, cover what they promise, and know which model is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as reference

from tasks.problems import scoring as module
from tasks.problems.intervals import wilson
from tasks.problems.multiclass_metrics import ClassScorer
from tasks.problems.multiclass_metrics import score_classes as scored
from tasks.problems.registry import get_metric, get_problem, metric_names

Classifier = Callable[..., tuple[np.ndarray, np.ndarray]]


def test_intervals_contain_the_point_and_shrink_with_n(classifier: Classifier) -> None:
    widths = []
    for rows in (100, 2_500):
        probabilities, truth = classifier(rows, 5, 2.0)
        point, found = scored(probabilities, truth).score(), scored(probabilities, truth).intervals(seed=1)
        assert set(found) == set(metric_names("multiclass"))
        assert all(low <= point[name] <= high for name, (low, high) in found.items())
        widths.append({name: high - low for name, (low, high) in found.items()})
    assert all(widths[1][name] < widths[0][name] / 2 for name in metric_names("multiclass"))


def test_the_accuracy_interval_has_the_binomial_width(classifier: Classifier) -> None:
    probabilities, truth = classifier(1_000, 4, 1.5)
    low, high = scored(probabilities, truth).intervals(seed=0)["accuracy"]
    share = scored(probabilities, truth).score()["accuracy"]
    assert high - low == pytest.approx(2 * 1.96 * (share * (1 - share) / 1_000) ** 0.5, rel=0.1)


def test_a_resample_is_scored_as_scikit_learn_scores_it(classifier: Classifier) -> None:
    probabilities, truth = classifier(60, 6, 1.0)
    chosen = np.random.default_rng(0).integers(0, 60, size=(8, 60))
    counts = scored(probabilities, truth).count(chosen)
    found = {m.name: m.compute(counts) for m in get_problem("multiclass").metrics if m.compute is not None}
    for row, rows in enumerate(chosen):
        expected = scored(probabilities[rows], truth[rows]).score()
        f1 = reference.f1_score(truth[rows], probabilities[rows].argmax(axis=1), average="macro", zero_division=0)
        assert found["macro_f1"][row] == pytest.approx(f1)
        assert {name: values[row] for name, values in found.items()} == pytest.approx(
            {name: expected[name] for name in found}
        )


def test_the_auroc_interval_agrees_with_a_bootstrap(classifier: Classifier) -> None:
    probabilities, truth = classifier(300, 3, 0.8)
    low, high = scored(probabilities, truth).intervals(seed=0)["auroc"]
    generator = np.random.default_rng(0)
    draws = [
        scored(probabilities[rows], truth[rows]).score()["auroc"]
        for rows in generator.integers(0, 300, size=(400, 300))
    ]
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.01)


def test_paired_differences_know_the_better_model(classifier: Classifier) -> None:
    strong, truth = classifier(800, 5, 2.5, seed=3)
    weak = (0.3 * strong + 0.7 * classifier(800, 5, 0.0, seed=4)[0]).astype(np.float32)
    found = scored(strong, truth).differences(scored(weak, truth), seed=0)
    for name in ("accuracy", "macro_f1", "macro_recall", "macro_precision", "auroc"):
        value, low, high = found[name]
        assert 0 < low <= value <= high
        back = scored(weak, truth).differences(scored(strong, truth), seed=0)[name]
        assert back == pytest.approx((-value, -high, -low))


def test_a_model_differs_from_itself_by_nothing(classifier: Classifier) -> None:
    probabilities, truth = classifier(200, 3, 1.0)
    assert set(scored(probabilities, truth).differences(scored(probabilities, truth), seed=0).values()) == {
        (0.0, 0.0, 0.0)
    }


def test_pairing_is_narrower_than_two_separate_intervals(classifier: Classifier) -> None:
    strong, truth = classifier(500, 5, 1.5)
    similar = strong.copy()
    similar[:5] = np.roll(similar[:5], 1, axis=1)
    _, low, high = scored(strong, truth).differences(scored(similar, truth), seed=0)["accuracy"]
    single = scored(strong, truth).intervals(seed=0)["accuracy"]
    assert high - low < (single[1] - single[0]) / 2


def test_more_confidence_is_wider(classifier: Classifier) -> None:
    strong, truth = classifier(300, 3, 1.5)
    weak, _ = classifier(300, 3, 0.5)
    narrow = scored(strong, truth).differences(scored(weak, truth), seed=0, confidence=0.8)
    wide = scored(strong, truth).differences(scored(weak, truth), seed=0, confidence=0.99)
    assert all(wide[name][2] - wide[name][1] > narrow[name][2] - narrow[name][1] for name in wide)


def test_more_confidence_is_wider_of_one_model(classifier: Classifier) -> None:
    probabilities, truth = classifier(300, 3, 1.5)
    sure, unsure = (scored(probabilities, truth).intervals(seed=0, confidence=confidence) for confidence in (0.99, 0.8))
    assert all(sure[name][0] < unsure[name][0] and sure[name][1] > unsure[name][1] for name in sure)


def test_what_is_undefined_has_no_interval() -> None:
    one_class = np.array([[0.9, 0.1], [0.7, 0.3]])
    assert "auroc" not in scored(one_class, np.array([0, 0])).intervals(seed=0)
    broken = np.full((2, 2), np.nan)
    assert scored(broken, np.array([0, 1])).intervals(seed=0) == {}
    assert scored(broken, np.array([0, 0])).differences(scored(one_class, np.array([0, 0])), seed=0) == {}


def test_same_seed_same_interval(classifier: Classifier) -> None:
    probabilities, truth = classifier(100, 3, 1.0)
    first, other = scored(probabilities, truth), scored(classifier(100, 3, 0.5)[0], truth)
    assert first.intervals(seed=5) == first.intervals(seed=5)
    assert first.differences(other, seed=5) == first.differences(other, seed=5)
    assert first.differences(other, seed=5) != first.differences(other, seed=6)


def test_answers_that_are_not_the_most_probable_class_are_judged_as_given(classifier: Classifier) -> None:
    probabilities, truth = classifier(60, 3, 0.0)
    wrong = (truth + 1) % 3
    right, never = (scored(probabilities, truth, answers).intervals(seed=0) for answers in (truth, wrong))
    assert (right["accuracy"][1], right["macro_f1"][1]) == (1.0, 1.0)
    assert (never["accuracy"][0], never["macro_f1"][0]) == (0.0, 0.0)
    for predicted, sign in (((truth, wrong), 1), ((wrong, truth), -1)):
        ours, theirs = (scored(probabilities, truth, answers) for answers in predicted)
        found = ours.differences(theirs, seed=0)
        assert found["accuracy"] == found["macro_f1"] == (sign, sign, sign)


def test_each_model_is_resampled_with_its_own_answers(classifier: Classifier) -> None:
    """An interval is centred on the difference, so its width is what tells whose answers were drawn."""
    probabilities, truth = classifier(90, 3, 0.0)
    wrong, some = (truth + 1) % 3, np.where(np.arange(90) % 3 == 0, truth, (truth + 1) % 3)
    for predicted in ((some, wrong), (wrong, some)):
        ours, theirs = (scored(probabilities, truth, answers) for answers in predicted)
        _, low, high = ours.differences(theirs, 0)["accuracy"]
        assert high - low == pytest.approx(2 * 1.96 * (1 / 3 * 2 / 3 / 90) ** 0.5, rel=0.15)


def test_every_row_is_drawn_in_a_thousand_resamples_whatever_their_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    [drawn] = module.resamples(4, seed=0)
    assert drawn.shape == (1_000, 4)
    assert np.bincount(drawn.ravel()).tolist() == pytest.approx([1_000] * 4, rel=0.15)
    assert [len(block) for block in module.resamples(3_000, seed=0)] == [333, 333, 333, 1]
    monkeypatch.setattr(module, "_BLOCK_ROWS", 4)
    assert [len(block) for block in module.resamples(5, seed=0)] == [1] * 1_000


def test_no_share_lies_beyond_0_or_1() -> None:
    truth = np.array([0] * 5 + [1] * 5)
    sure = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    for scores in (sure, 1 - sure):
        found = scored(np.stack([1 - scores, scores], axis=1), truth).intervals(seed=0)
        rows = [get_metric(name) for name in found]
        assert all(0 <= low <= high <= 1 for row in rows if row.unit == "share" for low, high in [found[row.name]])
        assert all(row.low <= found[row.name][0] <= found[row.name][1] <= row.high for row in rows)
        assert {0.0, 1.0} & set(found["auroc"]), "its ranks are perfect"


def test_percentiles_are_centred_on_the_figure_and_contain_it() -> None:
    """Draws around 5.5 of a figure that is 2: how far they spread counts, not where they lie."""
    assert module.percentiles(np.linspace(5, 6, 101), 0.9, 2.0) == pytest.approx((1.55, 2.45))
    lopsided = np.array([0.0] * 99 + [100.0])
    assert module.percentiles(lopsided, 0.9, 3.0) == pytest.approx((2.0, 3.0))
    assert module.percentiles(-lopsided, 0.9, 3.0) == pytest.approx((3.0, 4.0))


def test_wilson_against_a_published_value() -> None:
    # 81 of 263: (0.2553, 0.3662), Newcombe 1998, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert {(wilson(0, rows)[0], wilson(rows, rows)[1]) for rows in range(1, 500)} == {(0.0, 1.0)}, "but for rounding"
    low, high = wilson(10, 10)
    assert low < 0.75
    assert high == 1.0
    assert wilson(0, 0) is None


def test_ten_thousand_rows_are_counted_in_ten_blocks(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million cells at a time: neither a Python loop over resamples nor all of them in memory."""
    probabilities, truth = classifier(10_000, 10, 2.0)
    blocks: list[tuple[int, ...]] = []
    count = ClassScorer.count
    monkeypatch.setattr(
        ClassScorer, "count", lambda scorer, chosen: blocks.append(chosen.shape) or count(scorer, chosen)
    )
    scored(probabilities, truth).intervals(seed=0)
    assert blocks == [(1, 10_000)], "of one model's figures nothing is drawn"
    scored(probabilities, truth).differences(scored(probabilities, truth), seed=0)
    assert blocks[3::2] == [(100, 10_000)] * 10, "after the figures themselves"


def test_three_rows_that_are_all_right_prove_little() -> None:
    probabilities = np.eye(3)
    low, high = scored(probabilities, np.arange(3)).intervals(seed=0)["accuracy"]
    assert low == pytest.approx(0.4385, abs=1e-4)
    assert high == 1.0


def test_the_variance_over_clusters_is_that_of_leaving_each_out() -> None:
    """CV3 by leaving out: of a mean exactly, of macro F1 nearly; a cluster with most of the rows is no sure thing."""
    generator, sizes = np.random.default_rng(0), np.array([40, 5, 9, 12, 7, 3, 20])
    clusters = np.repeat(np.arange(7), sizes)
    values = generator.normal(size=96) + generator.normal(size=7)[clusters]
    left_out = np.array([values[clusters != place].mean() for place in range(7)])
    expected = 6 / 7 * np.square(left_out - values.mean()).sum()
    assert module.variance_of(values - values.mean(), clusters) == pytest.approx(expected)
    assert module.variance_of(values - values.mean(), np.arange(96)) == pytest.approx(values.var(ddof=1) / 96)


def test_fewer_than_six_clusters_say_nothing(classifier: Classifier) -> None:
    strong, truth = classifier(120, 3, 1.5)
    ours, theirs = scored(strong, truth), scored(classifier(120, 3, 0.5)[0], truth)
    assert ours.intervals(0, clusters=np.repeat(np.arange(5), 24)) == {}
    assert ours.differences(theirs, 0, clusters=np.repeat(np.arange(5), 24))["accuracy"][1:] == (-1.0, 1.0)
    _, low, high = ours.differences(theirs, 0, clusters=np.repeat(np.arange(6), 20))["accuracy"]
    assert -1 < low < high < 1
    assert set(ours.intervals(0, clusters=np.repeat(np.arange(6), 20))) == set(metric_names("multiclass"))
