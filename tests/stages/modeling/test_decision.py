"""The one decision: the most probable class, or with offsets the one they lift."""

import numpy as np
import pytest

from tasks.errors import DataError
from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.decision import answer_column
from tasks.problems.multiclass import decide
from tasks.problems.multilabel import decide_labels
from tests.support.cards import card_of, write_card

PROBABILITIES = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [np.nan, 0.1, 0.9]])


def test_without_offsets_it_is_the_most_probable_the_first_of_equals():
    assert decide(PROBABILITIES).tolist() == [0, 2, 2]
    assert decide(PROBABILITIES).tolist() == decide(PROBABILITIES, [0.0, 0.0, 0.0]).tolist()


def test_offsets_are_added_to_log_probabilities():
    assert decide(PROBABILITIES, [0.0, np.log(0.51 / 0.3), 0.0]).tolist() == [1, 1, 2]
    assert decide(PROBABILITIES, [0.0, np.log(0.49 / 0.3), 0.0]).tolist() == [1, 2, 2]


def test_a_class_of_probability_zero_is_never_lifted():
    assert decide(PROBABILITIES, [0.0, 0.0, 50.0]).tolist() == [0, 2, 2]


def test_labels_are_given_from_their_threshold_on():
    values = np.array([[0.5, 0.3], [0.4, np.nan]])
    assert decide_labels(values).tolist() == [[True, False], [False, False]]
    assert decide_labels(values, [0.45, 0.3]).tolist() == [[True, True], [False, False]]


def test_a_card_without_a_decision_has_no_offsets():
    assert ModelCard.model_validate(card_of(["a", "b"])).offsets is None
    assert ModelCard.model_validate(card_of(["a", "b"], decision={"offsets": [0, 0.5]})).offsets == (0.0, 0.5)


@pytest.mark.parametrize("bad", [[0.5], [0.1, "x"], [0.1, float("nan")], None, {"a": 1}])
def test_offsets_that_do_not_fit_the_labels_are_an_error(tmp_path, bad):
    write_card(tmp_path, ["a", "b"], decision={"offsets": bad})
    with pytest.raises(DataError, match=r"model\.json: damaged \(.*decision\.offsets"):
        read_card(tmp_path)


def test_thresholds_are_read_alike(tmp_path):
    sets = [{"name": "label", "problem": "multilabel", "labels": ["a"]}]
    write_card(tmp_path, ["a"], targets=sets, decision={"thresholds": [0.5]})
    assert read_card(tmp_path).thresholds == (0.5,)
    write_card(tmp_path, ["a"], targets=sets, decision={"offsets": [0.5]})
    with pytest.raises(DataError, match=r"decision\.thresholds is not one number"):
        read_card(tmp_path)


def test_numbers_are_told_without_the_noise_of_float32():
    card = ModelCard.model_validate(card_of([], targets=[{"name": "price", "problem": "regression"}]))
    numbers = np.array([[0.3], [7.0], [-1234.5]], np.float32)
    assert answer_column(card, 0, numbers) == (["0.3", "7", "-1234.5"], None)
