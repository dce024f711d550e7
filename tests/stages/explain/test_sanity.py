"""What must hold of explanations of a model that is known: a leak dominates, noise shows nothing, values sum up."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from tasks.explain.explainer import Shapley
from tasks.explain.fidelity import join_curves, try_orders
from tasks.explain.figures import input_figures
from tasks.explain.swaps import swap_inputs
from tests.support.explained import LABELS, Trained, train

NAMES = ("image", "text", "audio")


@pytest.fixture(scope="module")
def honest() -> Trained:
    return train(NAMES)


@functools.cache
def leaky() -> Trained:
    return train(("text",))


def figures(trained: Trained):  # type: ignore[no-untyped-def]
    found = trained.explainer.shapley(trained.encoded, trained.truth)
    rows = trained.explainer.rows_of(found, trained.encoded, [str(n) for n in range(len(trained.rows))])
    return found, *input_figures(NAMES, rows, [""] * len(rows), None, 0)


@pytest.mark.parametrize("kind", ["concat", "gated", "attention", "bilinear", "late", "linear"])
def test_values_sum_to_the_answer_less_that_of_no_input_under_every_fusion(kind: str) -> None:
    trained = train(NAMES, kind, steps=3)
    found: Shapley = trained.explainer.shapley(trained.encoded)
    np.testing.assert_allclose(found.values.sum(axis=1), found.value - found.base, atol=1e-9)
    whole = trained.explainer.fusion.outputs(trained.encoded)
    np.testing.assert_allclose(found.value, whole.max(axis=1))
    # Missing, as the model treats it: the same as a batch without the input.
    alone = trained.explainer.fusion.outputs(trained.encoded, [True, False, False])
    lone = trained.encoded.present | {name: np.zeros(64, bool) for name in ("text", "audio")}
    np.testing.assert_allclose(
        alone, trained.explainer.fusion.outputs(type(trained.encoded)(trained.encoded.vectors, lone)), atol=1e-12
    )


def test_a_label_leaked_into_one_input_dominates() -> None:
    _, found, dominant = figures(leaky())
    assert dominant == "text"
    by_name = {each.input: each for each in found}
    assert by_name["text"].share > 0.6
    assert (by_name["text"].toward_truth_interval or (0,))[0] > 0.2
    swaps = swap_inputs(
        leaky().explainer, leaky().encoded, [str(n) for n in range(64)], [LABELS[int(n)] for n in leaky().truth], 0
    )
    flips = {name: np.mean([each.flipped for each in swaps if each.input == name]) for name in NAMES}
    assert flips["text"] > 0.8
    assert max(flips["image"], flips["audio"]) < 0.3
    assert all(each.donor_label != LABELS[int(leaky().truth[int(each.id)])] for each in swaps)


def test_shuffled_labels_show_nothing() -> None:
    _, found, dominant = figures(train(NAMES, shuffled=True))
    assert dominant is None
    for each in found:
        low, high = each.toward_truth_interval or (1, -1)
        assert low <= 0 <= high, each


def test_integrated_gradients_sum_to_the_difference(honest: Trained) -> None:
    gaps = []
    for row in honest.rows[:6]:
        encoded = honest.explainer.encode(row)
        for name in NAMES:
            reading, found = honest.explainer.attribute(row, name, encoded, 0)
            told = found.attribution
            assert told.method == "integrated gradients"
            assert told.difference is not None
            shown = sum(each.value for each in told.values) if told.values else sum(map(sum, told.map))
            assert found.parts.sum() == pytest.approx(shown, abs=1e-2), "what is shown is all of it"
            ends = honest.explainer.scores_without(
                reading, np.array([[False] * reading.count, [True] * reading.count]), encoded, 0
            )
            assert told.difference == pytest.approx(ends[0] - ends[1], abs=1e-3)
            gaps.append(told.gap)
    assert max(gaps) <= 0.1
    assert np.median(gaps) <= 0.02


def test_the_parts_are_where_the_label_is(honest: Trained) -> None:
    for row in honest.rows[:6]:
        encoded = honest.explainer.encode(row)
        place = int(honest.explainer.question.places(honest.explainer.fusion.outputs(encoded))[0])
        words = honest.explainer.attribute(row, "text", encoded, place)[1].attribution.values
        assert max(words, key=lambda each: each.value).name in LABELS
        heard = np.abs(np.array(honest.explainer.attribute(row, "audio", encoded, place)[1].attribution.map))
        assert heard.shape == (16, 24)
        assert heard[:, 6:18].sum() > 0.6 * heard.sum(), "the tones sound in the middle third"


def test_deletion_and_insertion_beat_random_orders(honest: Trained) -> None:
    for name in NAMES:
        curves = []
        for number, row in enumerate(honest.rows[:12]):
            encoded = honest.explainer.encode(row)
            place = int(honest.explainer.question.places(honest.explainer.fusion.outputs(encoded))[0])
            reading, found = honest.explainer.attribute(row, name, encoded, place)
            without = functools.partial(honest.explainer.scores_without, reading, encoded=encoded, place=place)
            curves.append(try_orders(name, found.parts, without, np.random.default_rng(number)))
        curve = join_curves(name, [each for each in curves if each is not None], None, 0)
        assert curve is not None
        assert (curve.deletion_interval or (0,))[0] > 0, name
        assert (curve.insertion_interval or (0,))[0] > 0, name


def test_the_model_is_left_as_it_was(honest: Trained) -> None:
    model = honest.explainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    honest.explainer.tell(honest.rows[0])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert set(model.encoders) == set(NAMES)
    assert not any(module._forward_hooks for module in model.modules())


def test_what_one_answer_rests_on_has_shares_that_sum_to_one(honest: Trained) -> None:
    told = honest.explainer.tell(honest.rows[1])
    assert sum(told.shares.values()) == pytest.approx(1)
    assert sum(told.shapley.values()) == pytest.approx(told.value - told.base)
    assert [each.form for each in told.attributions] == ["picture", "words", "spectrogram"]
