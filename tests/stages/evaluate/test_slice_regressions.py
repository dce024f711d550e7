"""Parts on which a candidate is worse, and how likely that is by chance: by value, and against counting all signs."""

from __future__ import annotations

import itertools
from math import comb, erf, sqrt

import numpy as np
import pytest

from tasks.evaluate.slice_regressions import LOST_ROWS, SHOWN, chance_of_loss, find_regressions
from tasks.problems.multiclass_metrics import ClassScorer


def scorer(truth: np.ndarray, right: np.ndarray, classes: int) -> ClassScorer:
    return ClassScorer(
        np.full((len(truth), classes), 1 / classes), truth, np.where(right, truth, (truth + 1) % classes)
    )


def by_counting(sums: list[int]) -> float:
    """The share of all choices of signs whose sum is as small."""
    totals = [
        sum(sign * abs(each) for sign, each in zip(signs, sums, strict=True))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return sum(total <= sum(sums) for total in totals) / len(totals)


@pytest.mark.parametrize("sums", [[-3, 1, -2, 0], [2, -1], [-5, 2, 3], [-5, -5, 4, 1, 1], [3], [-2, -2, -2], [2, 2]])
def test_sums_of_whole_numbers_have_the_chance_of_counting_all_signs(sums: list[int]) -> None:
    values = np.array(sums, np.float64)
    assert chance_of_loss(values) == pytest.approx(by_counting([each for each in sums if each]))
    gains, clusters = (
        np.repeat(np.sign(values), np.abs(values).astype(int)),
        np.repeat(np.arange(len(sums)), np.abs(sums)),
    )
    assert chance_of_loss(gains, clusters) == pytest.approx(by_counting([each for each in sums if each]))


def test_single_answers_are_mcnemars_test() -> None:
    assert chance_of_loss(np.array([-1.0] * 7 + [1.0] * 2 + [0.0] * 90)) == pytest.approx(
        sum(comb(9, won) for won in range(3)) / 2**9
    )
    assert chance_of_loss(np.array([1.0, 1.0])) == 1.0
    assert chance_of_loss(np.array([])) == 1.0
    assert chance_of_loss(np.array([1.0, -1.0]), np.array([0, 0])) == 1.0, "no cluster differs"


def normal(total: float, squares: float) -> float:
    return (1 + erf(total / sqrt(2 * squares))) / 2


def test_other_numbers_and_large_sums_are_normal() -> None:
    gains = np.array([-0.5, 0.25, -1.5, 0.0])
    assert chance_of_loss(gains) == pytest.approx(normal(-1.75, 0.25 + 0.0625 + 2.25))
    large = np.array([-2_001.0, 2_000.0])
    assert chance_of_loss(large) == pytest.approx(normal(-1.0, 2_001.0**2 + 2_000.0**2))
    assert chance_of_loss(np.array([-2_000.0, 2_000.0])) == 0.75, "4,000 are still counted: 3 of 4 choices are as small"


def test_a_class_that_is_worse_a_lost_one_and_one_too_small() -> None:
    truth = np.repeat(np.arange(5), [40, 40, LOST_ROWS, 10, 8])
    wrong = np.isin(np.arange(103), [0, 1, 2, 3, 4, 5])  # of class 0: six rows that the champion answers rightly
    ours, theirs = scorer(truth, ~wrong & (truth != 2), 5), scorer(truth, truth != 9, 5)
    found = find_regressions((ours, theirs), ["a", "b", "c", "d", "e"], np.full(103, "image"), None, 20)
    assert (found.tested, found.too_small, found.min_rows) == (3, 2, 20)
    lost, worse, equal = found.parts
    assert (lost.by, lost.value, lost.rows, lost.change, lost.p, lost.lost) == (
        "class",
        "c",
        LOST_ROWS,
        -1.0,
        1.0,
        True,
    )
    assert (worse.value, worse.rows, worse.change, worse.lost) == ("a", 40, pytest.approx(-6 / 40), False)
    assert worse.p == pytest.approx(3 / 2**6), "three parts: Holm multiplies the smallest by three"
    assert (equal.value, equal.change, equal.p) == ("b", 0.0, 1.0)


def test_a_class_is_lost_only_where_the_champion_had_enough_of_it() -> None:
    truth = np.repeat(np.arange(2), [40, LOST_ROWS])
    for known, parts in ((LOST_ROWS, ["b", "a"]), (LOST_ROWS - 1, ["a"])):
        champion = scorer(truth, np.arange(len(truth)) < 40 + known, 2)
        found = find_regressions(
            (scorer(truth, truth == 0, 2), champion), ["a", "b"], np.full(len(truth), "image"), None, 20
        )
        assert [part.value for part in found.parts] == parts
    one_left = scorer(truth, np.arange(len(truth)) <= 40, 2)
    found = find_regressions(
        (one_left, scorer(truth, truth >= 0, 2)), ["a", "b"], np.full(len(truth), "image"), None, 20
    )
    assert [part.lost for part in found.parts] == [False], "one row of it is still answered rightly"


def test_sets_of_modalities_are_parts_where_there_are_several() -> None:
    truth = np.arange(80) % 2
    present = np.where(np.arange(80) < 50, "image", "image+text")
    ours, theirs = scorer(truth, np.arange(80) >= 4, 2), scorer(truth, truth >= 0, 2)
    found = find_regressions((ours, theirs), ["a", "b"], present, None, 30)
    assert {(part.by, part.value): (part.rows, part.change) for part in found.parts} == {
        ("class", "a"): (40, pytest.approx(-2 / 40)), ("class", "b"): (40, pytest.approx(-2 / 40)),
        ("modalities", "image"): (50, pytest.approx(-4 / 50)), ("modalities", "image+text"): (30, 0.0),
    }  # fmt: skip
    assert found.parts[0].value == "image"
    assert not any(part.lost for part in found.parts)
    same = find_regressions((ours, theirs), ["a", "b"], np.full(80, "image"), None, 30)
    assert [part.by for part in same.parts] == ["class", "class"]


def test_named_slices_are_parts() -> None:
    truth = np.arange(80) % 2
    ours, theirs = scorer(truth, np.arange(80) >= 10, 2), scorer(truth, truth >= 0, 2)
    speakers = np.where(np.arange(80) < 20, "ann", np.where(np.arange(80) < 70, "bob", "eve"))
    found = find_regressions((ours, theirs), ["a", "b"], np.full(80, "image"), None, 20, {"speaker": speakers})
    assert (found.tested, found.too_small, found.columns) == (4, 1, ("speaker",))
    first = found.parts[0]
    assert (first.by, first.value, first.rows, first.change) == ("slice", "speaker=ann", 20, -0.5)
    assert first.p == pytest.approx(4 / 2**10), "four parts: Holm multiplies the smallest by four"


def test_rows_of_a_cluster_are_one_loss() -> None:
    truth = np.arange(80) % 2
    ours, theirs = scorer(truth, np.arange(80) >= 8, 2), scorer(truth, truth >= 0, 2)
    found = find_regressions((ours, theirs), ["a", "b"], np.full(80, "image"), np.arange(80) // 8, 20)
    assert [part.p for part in found.parts] == [1.0, 1.0], "half, times two parts"


def test_the_ten_most_certain_parts_are_shown() -> None:
    truth = np.repeat(np.arange(12), 20)
    ours = scorer(truth, np.arange(240) % 20 >= np.repeat(np.arange(12), 20), 12)
    found = find_regressions(
        (ours, scorer(truth, truth >= 0, 12)), [f"c{n}" for n in range(12)], np.full(240, "image"), None, 20
    )
    assert (len(found.parts), found.tested) == (SHOWN, 12)
    assert [part.value for part in found.parts] == [f"c{n}" for n in range(11, 1, -1)]
