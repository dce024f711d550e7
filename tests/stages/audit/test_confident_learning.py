"""Confident learning by value, and against what cleanlab 2.9.0 said of the same probabilities."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tasks.audit.confident_learning import class_thresholds, learn, margin, self_confidence
from tests.support.compare_with_cleanlab import CASES, FIGURES, make_case


@pytest.mark.parametrize("name", CASES)
def test_figures_are_those_of_cleanlab(name: str) -> None:
    probabilities, given = make_case(*CASES[name])
    theirs = json.loads(FIGURES.read_text())[name]
    learned = learn(probabilities, given)
    assert learned.thresholds == pytest.approx(theirs["thresholds"], abs=1e-8)
    assert learned.joint.tolist() == theirs["joint"]
    assert np.flatnonzero(learned.flagged).tolist() == theirs["flagged"]
    assert self_confidence(probabilities, given).sum() == pytest.approx(theirs["self_confidence"])
    assert margin(probabilities, given).sum() == pytest.approx(theirs["margin"])


def test_a_row_is_flagged_where_another_class_is_confident() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.3, 0.7], [0.55, 0.45]])
    given = np.array([0, 0, 0, 1, 1, 1])
    assert class_thresholds(probabilities, given) == pytest.approx([1.75 / 3, 2.05 / 3])
    learned = learn(probabilities, given)
    assert learned.flagged.tolist() == [False, False, True, False, False, False]  # the last is sure of no class
    assert learned.suggested.tolist() == [0, 0, 1, 1, 1, 0]
    assert learned.joint.tolist() == [[2, 1], [0, 2]]
    assert learned.noise == pytest.approx([1 / 3, 0.0])
    assert learned.total_noise(given) == pytest.approx(1 / 6)
    assert margin(probabilities, given) == pytest.approx([0.8, 0.6, -0.9, 0.8, 0.4, -0.1])


def test_a_class_that_no_row_is_given_is_suggested_only_where_it_is_certain() -> None:
    probabilities = np.array([[0.4, 0.1, 0.5], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    learned = learn(probabilities, np.array([0, 0, 1]))
    assert learned.thresholds[2] == 1.0
    assert not learned.flagged.any()
