"""Differences with their intervals by hand, by simulation, and where little is known; the finding is true to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from data_contracts.comparison import FitCost, PairedDifference, VariantRecord
from tasks.compare.finding import conclude, describe_findings
from tasks.compare.paired import Measured, compare_with, correct, measure
from tasks.problems.multiclass_metrics import ClassScorer
from tasks.problems.registry import get_metric

ACCURACY = get_metric("accuracy")


def scorer(truth: np.ndarray, right: np.ndarray) -> ClassScorer:
    """Two classes; rows are answered rightly where `right`."""
    predicted = np.where(right, truth, 1 - truth)
    return ClassScorer(np.eye(2)[predicted], truth, predicted)


def measured(name: str, rights: list[np.ndarray], clusters: np.ndarray | None = None) -> Measured:
    truth = np.arange(len(rights[0])) % 2
    return measure(name, [scorer(truth, right) for right in rights], ACCURACY, 0, clusters)


def compared(ours: list[np.ndarray], theirs: list[np.ndarray], clusters: np.ndarray | None = None) -> PairedDifference:
    pair = measured("a", ours, clusters), measured("b", theirs, clusters)
    return compare_with(*pair, ACCURACY, clusters, 0.05)


def test_two_equal_models_differ_by_nothing() -> None:
    right = np.arange(100) % 3 > 0
    found = compared([right, right], [right, right])
    assert (found.value, found.low, found.high, found.p, found.differing) == (0, 0, 0, 1, 0)


def test_the_two_standard_errors_are_those_of_the_rows_and_of_the_seeds() -> None:
    rng = np.random.default_rng(0)
    ours = [rng.random(400) < share for share in (0.9, 0.8, 0.85)]
    theirs = [rng.random(400) < 0.7 for _ in range(3)]
    found = compared(ours, theirs)
    by_seed = [a.mean() - b.mean() for a, b in zip(ours, theirs, strict=True)]
    assert found.by_seed == pytest.approx(by_seed)
    assert found.value == pytest.approx(np.mean(by_seed))
    assert found.seeds_se == pytest.approx(np.std(by_seed, ddof=1) / 3**0.5)
    rows = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    assert found.rows_se == pytest.approx(rows.std() / 20, rel=0.1), "the bootstrap of a mean"
    variance = found.rows_se**2 + found.seeds_se**2
    freedom = variance**2 / (found.rows_se**4 / (found.differing - 1) + found.seeds_se**4 / 2)
    assert found.high - found.value == pytest.approx(stats.t.ppf(0.975, freedom) * variance**0.5)


def test_the_interval_excludes_0_where_p_is_at_most_alpha_and_only_there() -> None:
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(60):
        gain = rng.choice([0.0, 0.05, 0.1, 0.2])
        ours, theirs = ([rng.random(150) < share for _ in range(3)] for share in (0.7 + gain, 0.7))
        found = compared(ours, theirs)
        apart = not found.low <= 0 <= found.high
        assert apart == (found.p <= 0.05)
        seen.add(apart)
    assert seen == {True, False}


@pytest.mark.slow
def test_equal_models_are_told_apart_seldom_also_where_seeds_vary() -> None:
    """Rows and seeds both vary: over 300 pairs the interval misses the truth, 0, in about 5 %, never in 10 %."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(300):
        hard = rng.random(120)  # shared by both models: the rows are paired
        sides = [[hard < 0.7 + rng.normal(0, 0.05) for _ in range(3)] for _ in range(2)]
        found = compared(*[[right ^ (rng.random(120) < 0.1) for right in side] for side in sides])
        missed += not found.low <= 0 <= found.high
    assert missed <= 30


def test_one_fit_that_draws_nothing_stands_for_every_seed() -> None:
    rng = np.random.default_rng(3)
    single = rng.random(200) < 0.8
    found = compared([single], [rng.random(200) < 0.6 for _ in range(3)])
    assert len(found.by_seed) == 3
    assert found.seeds_se > 0


def test_few_rows_that_differ_tell_nothing_apart() -> None:
    """Five rows, all in favour of one: equal models do that in 2 of 32 cases."""
    base = np.zeros(40, bool)
    for rows, apart in ((5, False), (8, True)):
        better = base.copy()
        better[:rows] = True
        found = compared([better, better], [base, base])
        assert (found.low > 0) == apart
        assert found.p >= 2.0 ** (1 - rows)
    two = compared([np.ones(2, bool)] * 2, [np.zeros(2, bool)] * 2)
    assert two.low <= 0 <= two.high


def test_rows_in_clusters_tell_less_than_as_many_by_themselves_and_few_clusters_nothing() -> None:
    rng = np.random.default_rng(4)
    of_cluster = rng.random(20) < 0.7
    ours = np.repeat(of_cluster, 10)
    theirs = np.repeat(rng.random(20) < 0.5, 10)
    clusters = np.repeat(np.arange(20), 10)
    alone, joined = compared([ours] * 2, [theirs] * 2), compared([ours] * 2, [theirs] * 2, clusters)
    assert joined.high - joined.low > 2 * (alone.high - alone.low)
    few = compared([ours] * 2, [theirs] * 2, np.repeat(np.arange(5), 40))
    assert (few.low, few.high, few.p) == (-1.0, 1.0, 1.0)


def test_holm_is_over_all_comparisons() -> None:
    one = compared([np.arange(50) % 2 == 0] * 2, [np.arange(50) % 3 == 0] * 2)
    found = correct([one.model_copy(update={"p": p}) for p in (0.01, 0.04, 0.03)])
    assert [each.p_holm for each in found] == pytest.approx([0.03, 0.06, 0.06])


def difference(value: float, low: float, high: float, p_holm: float = 0.01) -> PairedDifference:
    return PairedDifference(
        value=value, low=low, high=high, p=0.001, p_holm=p_holm, by_seed=(value,), rows_se=0.1, seeds_se=0, differing=9
    )


@pytest.mark.parametrize(
    ("found", "lower", "said"),
    [
        (difference(0.1, 0.05, 0.15), False, "better"),
        (difference(0.1, 0.05, 0.15), True, "worse"),
        (difference(-0.1, -0.15, -0.05), False, "worse"),
        (difference(-0.1, -0.15, -0.05), True, "better"),
        (difference(0.1, -0.001, 0.2), False, "no difference shown"),
        (difference(0.1, 0.0, 0.2), False, "no difference shown"),
        (difference(0.1, 0.05, 0.15, p_holm=0.06), False, "not after Holm"),
    ],
)
def test_better_is_said_only_where_the_interval_and_holm_say_so(
    found: PairedDifference, lower: bool, said: str
) -> None:
    assert conclude(found, lower, 0.05) == said


def record(name: str, found: PairedDifference | None, train_s: float) -> VariantRecord:
    conclusion = None if found is None else conclude(found, False, 0.05)
    return VariantRecord(
        name=name, group="g", says="", method="network", scores=(0.5,), mean=0.5, difference=found, conclusion=conclusion,
        rank=1.0, cost=FitCost(train_s=train_s),
    )  # fmt: skip


def test_the_finding_names_each_variant_once_under_what_its_interval_says() -> None:
    others = [
        record("up", difference(0.1, 0.05, 0.15), 9),
        record("down", difference(-0.1, -0.15, -0.05), 9),
        record("even", difference(0.0002, -0.05, 0.05), 2),
        record("maybe", difference(0.04, 0.01, 0.07, p_holm=0.2), 9),
    ]
    text = describe_findings(others, record("profile", None, 10), "accuracy", 0.05)
    assert text[0] == "Better than profile in accuracy: up (+0.100 [+0.050, +0.150])."
    assert text[1] == "Worse than profile in accuracy: down (−0.100 [−0.150, −0.050])."
    assert "not after Holm's correction over 4 comparisons: maybe" in text[2]
    assert "does not prove that there is none" in text[3]
    assert "even (+0.0002 [−0.050, +0.050])" in text[3]
    assert text[4] == "Of these, trained in at most half the time of profile (10 s): even (2 s)."
    nothing = describe_findings(others[2:3], record("profile", None, 10), "accuracy", 0.05)
    assert nothing[0] == "Nothing is shown to be better than profile."
    assert not any("Better than" in sentence for sentence in nothing)
