"""What an explanation is made of, by value: Shapley values, figures, neighbours, words, orders, rows that are chosen."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.explanations import RowAnswer, RowShapley
from tasks.config_explain import ExplainConfig
from tasks.explain.fidelity import SHARES, join_curves, try_orders
from tasks.explain.figures import input_figures, mean_interval
from tasks.explain.neighbours import find_nearest
from tasks.explain.rows import plan_rows
from tasks.explain.shapley import coalitions, shapley_values
from tasks.explain.words import byte_words, split_words
from tasks.samples import Samples


def by_orders(values: np.ndarray) -> np.ndarray:
    """The definition itself: the mean over all orders in which inputs come in."""
    inputs = len(values).bit_length() - 1
    found = np.zeros(inputs)
    orders = list(permutations(range(inputs)))
    for order in orders:
        seen = 0
        for place in order:
            found[place] += values[seen | 1 << place] - values[seen]
            seen |= 1 << place
    return found / len(orders)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.floats(-9, 9), min_size=1 << n, max_size=1 << n)))
def test_values_are_those_of_the_definition_and_sum_to_the_difference(values: list[float]) -> None:
    array = np.array(values)
    found = shapley_values(array[:, None])[0]
    np.testing.assert_allclose(found, by_orders(array), atol=1e-9)
    assert found.sum() == pytest.approx(array[-1] - array[0], abs=1e-9)


def test_an_input_that_changes_nothing_adds_nothing_and_equal_ones_share() -> None:
    members = coalitions(3)
    values = 2.0 * (members[:, 0] & members[:, 1]) + 0.0 * members[:, 2]
    assert shapley_values(values[:, None].astype(float)).tolist() == [[1.0, 1.0, 0.0]]


def row(name: str, image: float, text: float, toward: dict[str, float] | None) -> RowShapley:
    return RowShapley(
        id=name, output="a", value=0.9, base=0.1, shapley={"image": image, "text": text}, toward_truth=toward
    )


def test_an_input_dominates_where_it_leads_and_helps_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    strong, weak = rng.normal(0.6, 0.05, 40), rng.normal(0.1, 0.05, 40)
    rows = [row(f"r{n}", a, b, {"image": a, "text": b}) for n, (a, b) in enumerate(zip(strong, weak, strict=True))]
    figures, dominant = input_figures(("image", "text"), rows, ["x", "y"] * 20, None, 0)
    assert dominant == "image"
    assert sum(each.share for each in figures) == pytest.approx(1)
    assert figures[0].importance == pytest.approx(np.abs(strong).mean())
    assert figures[0].by_label["x"] == pytest.approx(np.abs(strong[::2]).mean())
    low, high = figures[0].importance_interval or (0, 0)
    assert low < figures[0].importance < high
    useless = [
        each.model_copy(update={"toward_truth": {"image": s, "text": 0.0}})
        for each, s in zip(rows, rng.normal(0, 1, 40), strict=True)
    ]
    assert input_figures(("image", "text"), useless, [""] * 40, None, 0)[1] is None, "it leads and does not help"
    even = [row(f"r{n}", a, b, None) for n, (a, b) in enumerate(rng.normal(0.4, 0.1, (40, 2)))]
    assert input_figures(("image", "text"), even, [""] * 40, None, 0)[1] is None


def test_groups_are_drawn_whole_and_few_have_no_interval() -> None:
    values = np.repeat(np.arange(8.0), 25)
    groups = [str(int(value)) for value in values]
    alone, together = mean_interval(values, None, 0), mean_interval(values, groups, 0)
    assert alone is not None
    assert together is not None
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])
    assert mean_interval(np.arange(100.0), [str(n % 4) for n in range(100)], 0) is None


@pytest.mark.parametrize("size", [1, 7, 100])
def test_nearest_rows_are_the_same_however_they_are_cut(size: int) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(53, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked, known = vectors[:3], vectors[3:]
    places, cosines = find_nearest(asked, (known[at : at + size] for at in range(0, 50, size)), 4)
    right = np.argsort(-(asked @ known.T), axis=1, kind="stable")[:, :4]
    assert places.tolist() == right.tolist()
    np.testing.assert_allclose(cosines, np.take_along_axis(asked @ known.T, right, axis=1), atol=1e-6)
    assert find_nearest(asked, iter([known[:2]]), 4)[0].shape == (3, 2)


def test_words_of_bytes_and_of_scripts_without_spaces() -> None:
    words, of_byte = byte_words("né  ok fin", 9)
    assert words == ["né", "ok", "fin"]
    assert of_byte == [0, 0, 0, -1, -1, 1, 1, -1, 2]
    assert [("数字 no"[a:b]) for a, b in split_words("数字 no")] == ["数", "字", "no"]
    assert byte_words("   ", 3) == (["   "], [0, 0, 0])


def test_orders_by_strength_beat_random_ones_where_the_strongest_part_decides() -> None:
    weights = np.array([5.0, 0.1, 0.1, 0.1, 0.1, 0.1])

    def without(taken: np.ndarray) -> np.ndarray:
        return (~taken) @ weights

    rows = [try_orders("text", weights, without, np.random.default_rng(n)) for n in range(8)]
    curve = join_curves("text", [each for each in rows if each is not None], None, 0)
    assert curve is not None
    assert len(curve.deletion) == len(SHARES)
    assert (curve.deletion[0], curve.insertion[0]) == (pytest.approx(5.5), 0)
    assert (curve.deletion[-1], curve.insertion[-1]) == (0, pytest.approx(5.5))
    assert curve.deletion_interval is not None
    assert curve.deletion_interval[0] > 0.5
    assert curve.insertion_interval is not None
    assert curve.insertion_interval[0] > 0.5
    assert try_orders("text", weights[:2], without, np.random.default_rng(0)) is None


def test_rows_that_are_shown_are_the_worst_mistakes_and_one_of_each_label() -> None:
    import pyarrow as pa

    ids = [f"r{n:02}" for n in range(30)]
    samples = Samples(pa.table({"id": ids, "label": ["a", "b", "c"] * 10}))
    answers = [RowAnswer(id=each, answer="a", wrong=n in (4, 9, 20), loss=float(n)) for n, each in enumerate(ids)]
    plan = plan_rows(samples, answers, ExplainConfig(samples=6, rows=10, fidelity_rows=4), False)
    assert plan.mistakes.tolist() == [20, 9, 4]
    assert plan.shown[:3].tolist() == [20, 9, 4]
    assert {samples.labels[place] for place in plan.shown[3:]} == {"a", "b", "c"}
    more = plan_rows(samples, answers, ExplainConfig(samples=6, rows=20, fidelity_rows=8), False)
    assert set(plan.figures) < set(more.figures), "more rows later hold those of before"
    named = plan_rows(samples, answers, ExplainConfig(ids=("r03", "r01")), False)
    assert named.shown.tolist() == [3, 1]
    assert plan_rows(samples, answers, ExplainConfig(samples=2), True).mistakes[0] == 29, "of numbers the largest error"
