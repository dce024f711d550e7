"""Offsets chosen for macro F1: they find what there is to find, and nothing where there is nothing."""

import itertools
import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from tasks.modeling.card import ModelCard, read_card
from tasks.modeling.package import load_model
from tasks.problems.multiclass import decide
from tasks.problems.multilabel import decide_labels
from tasks.train import thresholds
from tasks.train.thresholds import coordinate_search, macro_f1, tune_card, tune_decision, tune_label_thresholds
from tasks.train.train import train
from tests.support.cards import card_of


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def rare(rows=2000, share=0.03, seed=0, classes=3):
    """Calibrated probabilities of classes of which the last is rare: by them it is hardly ever answered."""
    rng = np.random.default_rng(seed)
    prior = np.full(classes, (1 - share) / (classes - 1))
    prior[-1] = share
    truth = rng.choice(classes, rows, p=prior)
    means = 1.5 * np.eye(classes)
    seen = means[truth] + rng.normal(size=(rows, classes))
    return softmax(seen @ means.T + np.log(prior) - (means**2).sum(axis=1) / 2), truth


def test_a_rare_class_is_answered_more_often_and_new_rows_gain():
    offsets, record = tune_decision(*rare(seed=1))
    assert offsets is not None
    assert offsets[2] > max(offsets[:2])
    fresh, truth = rare(rows=20_000, seed=2)
    assert macro_f1(decide(fresh, offsets), truth) > macro_f1(decide(fresh), truth) + 0.02
    assert record.used is True
    assert record.tuned_macro_f1 >= record.left_out_macro_f1 > record.macro_f1


def test_nothing_is_chosen_where_it_does_not_hold_on_rows_left_out():
    rng = np.random.default_rng(3)
    truth = np.arange(400) % 4
    offsets, record = tune_decision(softmax(rng.normal(size=(400, 4)) + 2.5 * np.eye(4)[truth]), truth)
    assert offsets is None
    assert record.used is False
    assert record.left_out_macro_f1 <= record.macro_f1 <= record.tuned_macro_f1


def test_the_search_finds_the_best_of_two_classes():
    probabilities, truth = rare(rows=60, share=0.2, seed=5, classes=2)
    margins = np.log(probabilities[:, 0]) - np.log(probabilities[:, 1])
    tried = np.concatenate([margins + 1e-7, margins - 1e-7])
    best = max(macro_f1(decide(probabilities, [0.0, value]), truth) for value in tried)
    found = coordinate_search(probabilities, truth)
    assert macro_f1(decide(probabilities, list(found)), truth) == pytest.approx(best)


def test_no_single_change_improves_what_the_search_found():
    probabilities, truth = rare(rows=150, share=0.1, seed=6, classes=4)
    found = coordinate_search(probabilities, truth)
    reached = macro_f1(decide(probabilities, list(found)), truth)
    for c, shift in itertools.product(range(4), np.linspace(-3, 3, 121)):
        moved = found.copy()
        moved[c] = np.clip(moved[c] + shift, -5, 5)
        assert macro_f1(decide(probabilities, list(moved)), truth) <= reached + 1e-9


def test_it_is_the_same_each_time_and_a_missing_class_is_left_alone():
    probabilities, truth = rare(seed=7, classes=4)
    truth = np.where(truth == 1, 0, truth)
    first = coordinate_search(probabilities, truth)
    assert first[1] == 0
    assert np.array_equal(first, coordinate_search(probabilities, truth))


def test_a_class_costs_two_sorts_of_the_rows_a_round(monkeypatch):
    searches, sorts = [], []
    search, sort = thresholds._best_offset, np.argsort
    monkeypatch.setattr(thresholds, "_best_offset", lambda *what: searches.append(1) or search(*what))
    monkeypatch.setattr(np, "argsort", lambda *what, **how: sorts.append(1) or sort(*what, **how))
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 50, 500)
    coordinate_search(softmax(rng.normal(size=(500, 50)) + 3 * np.eye(50)[truth]), truth)
    assert 50 < len(searches) <= thresholds.ROUNDS * 50
    assert len(sorts) <= 2 * len(searches)


def test_macro_f1_is_scikit_learns_over_the_classes_that_occur():
    rng = np.random.default_rng(1)
    truth, answers = rng.integers(0, 4, 50), rng.integers(0, 6, 50)
    expected = f1_score(truth, answers, labels=np.unique(truth), average="macro", zero_division=0)
    assert macro_f1(answers, truth) == pytest.approx(expected)


def test_label_thresholds_are_the_best_of_each_label():
    rng = np.random.default_rng(4)
    truth = rng.random((300, 3)) < (0.5, 0.1, 0.0)
    probabilities = 1 / (1 + np.exp(-(rng.normal(size=(300, 3)) + 2 * truth - (0.5, 3.0, 3.0))))
    found = tune_label_thresholds(probabilities, truth)
    assert found[2] == 0.5
    assert found[1] < 0.5
    for label in range(2):
        best = max(f1_score(truth[:, label], probabilities[:, label] >= p) for p in probabilities[:, label])
        predicted = decide_labels(probabilities, found)[:, label]
        assert f1_score(truth[:, label], predicted) == pytest.approx(best)


def test_a_label_that_gains_nothing_keeps_one_half():
    probabilities = np.array([[0.9], [0.6], [0.5], [0.2]])
    assert tune_label_thresholds(probabilities, np.array([[True], [True], [True], [False]])) == [0.5]


def test_training_keeps_the_offsets_in_the_card(make_world):
    world = make_world("train.tune_thresholds=true")
    ref = train(*world.all, isolate=False)
    folder = world.store.path(ref.uri)
    record = json.loads((folder / "history.json").read_text())["thresholds"]
    assert record["tuned_macro_f1"] >= record["macro_f1"]
    assert (read_card(folder).offsets is not None) is record["used"]
    assert load_model(folder).modalities == ref.modalities
    plain = train(*make_world().all, isolate=False)
    assert plain.model_sha256 == ref.model_sha256, "the weights stay as they are"
    assert plain.train_key != ref.train_key


def test_a_card_gets_what_helps():
    card, record = tune_card(ModelCard.model_validate(card_of(["a", "b", "c"])), *rare(seed=1))
    assert record.used
    offsets = card.offsets
    assert offsets is not None
    assert offsets[2] > max(offsets[:2])
